import { createHash } from 'node:crypto';
import { readSync } from 'node:fs';
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { FormatError, MobillmError, UsageError } from '../tensor/errors.ts';
import { type ByteSource, checkRange, type Hasher } from './byte-source.ts';

const LINE_FEED = 0x0a;

/** One read call's most bytes: the kernel's limit is just under 2 GiB. */
const READ_CHUNK = 2 ** 30;

/** The system's word for a failure, `ENOENT`; undefined for one that is none of its. */
export function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/**
 * Turns an operating-system failure into a typed error that says what to do; a typed one passes.
 * @returns UsageError `E_NOT_FOUND`, `E_NO_ACCESS`, `E_DISK_FULL` or `E_FILE`, with the path.
 */
export function fileError(operation: string, path: string, error: unknown): MobillmError {
  if (error instanceof MobillmError) return error;
  const options = { cause: error };
  switch (errnoOf(error)) {
    case 'ENOENT':
      return new UsageError(
        `${operation}: ${path}: no such file or folder`,
        'E_NOT_FOUND',
        options,
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new UsageError(`${operation}: ${path}: permission denied`, 'E_NO_ACCESS', options);
    case 'ENOSPC':
    case 'EDQUOT':
      return new UsageError(
        `${operation}: ${path}: disk is full; free some space and run again`,
        'E_DISK_FULL',
        options,
      );
    case 'EISDIR':
      return new UsageError(`${operation}: ${path}: is a folder, not a file`, 'E_FILE', options);
    case 'ENOTDIR':
      return new UsageError(`${operation}: ${path}: is a file, not a folder`, 'E_FILE', options);
    default: {
      const reason = error instanceof Error ? error.message : String(error);
      return new UsageError(`${operation}: ${path}: ${reason}`, 'E_FILE', options);
    }
  }
}

/**
 * The folder that outlives runs: `$MOBILLM_HOME`, else `$XDG_CACHE_HOME/mobillm`, else
 * `~/.cache/mobillm`. It need not exist yet.
 */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.MOBILLM_HOME) return resolve(env.MOBILLM_HOME);
  if (env.XDG_CACHE_HOME) return resolve(env.XDG_CACHE_HOME, 'mobillm');
  return join(homedir(), '.cache', 'mobillm');
}

/**
 * Opens a file for positional reads.
 * @throws UsageError `E_NOT_FOUND`, `E_NO_ACCESS` or `E_FILE`.
 */
export async function fileByteSource(path: string): Promise<ByteSource> {
  let handle: FileHandle | null;
  let size: number;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw fileError('open', path, error);
  }
  try {
    const stats = await handle.stat();
    if (stats.isDirectory()) throw Object.assign(new Error('is a folder'), { code: 'EISDIR' });
    size = stats.size;
  } catch (error) {
    await handle.close();
    throw fileError('open', path, error);
  }
  const check = (offset: number, length: number): FileHandle => {
    if (handle === null) throw new UsageError(`read: ${path}: source is closed`, 'E_FILE');
    checkRange(path, size, offset, length);
    return handle;
  };
  const fill = async (from: FileHandle, offset: number, bytes: Uint8Array): Promise<void> => {
    const length = bytes.byteLength;
    let done = 0;
    while (done < length) {
      const want = Math.min(READ_CHUNK, length - done);
      let got: number;
      try {
        got = (await from.read(bytes, done, want, offset + done)).bytesRead;
      } catch (error) {
        throw fileError('read', path, error);
      }
      // The file was cut while open: say so with the size it has now.
      if (got === 0) checkRange(path, offset + done, offset, length);
      done += got;
    }
  };
  return {
    name: path,
    size,
    async read(offset, length) {
      const from = check(offset, length);
      const bytes = new Uint8Array(length);
      await fill(from, offset, bytes);
      return bytes;
    },
    async readInto(offset, target) {
      await fill(check(offset, target.byteLength), offset, target);
    },
    readIntoSync(offset, target) {
      const { fd } = check(offset, target.byteLength);
      for (let done = 0; done < target.byteLength; ) {
        let got: number;
        try {
          got = readSync(fd, target, done, target.byteLength - done, offset + done);
        } catch (error) {
          throw fileError('read', path, error);
        }
        if (got === 0) checkRange(path, offset + done, offset, target.byteLength);
        done += got;
      }
    },
    async close() {
      const closing = handle;
      handle = null;
      await closing?.close();
    },
  };
}

/**
 * A text file's contents as UTF-8; this is what `data/` is given to read with.
 * @throws UsageError `E_NOT_FOUND`, `E_NO_ACCESS` or `E_FILE`; FormatError (`E_FORMAT`) with the
 * line that is not UTF-8, which would else be read as text with holes in it.
 */
export async function readText(path: string): Promise<string> {
  const source = await fileByteSource(path);
  try {
    const bytes = await source.read(0, source.size);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (error) {
      throw new FormatError(
        `read: ${path}:${firstUndecodable(bytes)}: is not UTF-8; save the file in that encoding`,
        'E_FORMAT',
        { cause: error },
      );
    }
  } finally {
    await source.close();
  }
}

/** The line, from 1, in which bytes cease to be UTF-8. */
function firstUndecodable(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 1;
  for (let start = 0; ; line++) {
    const end = bytes.indexOf(LINE_FEED, start);
    try {
      // A line feed is a byte of no other character, so lines can be judged one by one.
      decoder.decode(bytes.subarray(start, end < 0 ? bytes.length : end));
    } catch {
      return line;
    }
    if (end < 0) return line;
    start = end + 1;
  }
}

/**
 * Names of the files in a folder, in no order; undefined where there is no such folder.
 * @throws UsageError `E_NO_ACCESS` or `E_FILE`.
 */
export async function listFiles(folder: string): Promise<string[] | undefined> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    // A link may lead to a file; reading it will tell.
    return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    throw fileError('read', folder, error);
  }
}

/** SHA-256 of bytes as 64 lower-case hex digits, in place: they are not copied. */
export function sha256Bytes(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A SHA-256 over bytes that come in pieces. */
export function sha256Hasher(): Hasher {
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

/**
 * SHA-256 of a file's bytes as 64 lower-case hex digits.
 * @param options.onProgress is told the bytes hashed so far and the file's size.
 * @param options.signal stops it; the promise then rejects with the signal's reason.
 * @throws UsageError `E_NOT_FOUND`, `E_NO_ACCESS` or `E_FILE`.
 */
export async function sha256File(
  path: string,
  options: { onProgress?: (done: number, total: number) => void; signal?: AbortSignal } = {},
): Promise<string> {
  const source = await fileByteSource(path);
  const hash = createHash('sha256');
  // One buffer for all of it: a new one a step stays in memory until the next garbage collection.
  const buffer = new Uint8Array(Math.min(2 ** 18, source.size));
  try {
    for (let done = 0; done < source.size; ) {
      options.signal?.throwIfAborted();
      const bytes = buffer.subarray(0, Math.min(buffer.length, source.size - done));
      await source.readInto(done, bytes);
      hash.update(bytes);
      done += bytes.byteLength;
      options.onProgress?.(done, source.size);
    }
    return hash.digest('hex');
  } finally {
    await source.close();
  }
}
