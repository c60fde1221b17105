import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readSync } from 'node:fs';
import {
  access,
  constants,
  type FileHandle,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { parentPort as nodeParentPort, type TransferListItem, Worker } from 'node:worker_threads';
import { FormatError, MobillmError, UsageError } from '../tensor/errors.ts';
import { type ByteSource, checkRange, type Hasher } from './byte-source.ts';
import type { WorkerPort } from './worker.ts';

const LINE_FEED = 0x0a;

/** One read call's most bytes: the kernel's limit is just under 2 GiB. */
const READ_CHUNK = 2 ** 30;

function errnoOf(error: unknown): string | undefined {
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

/**
 * Fails early where a file or folder could not be written later, after hours of work: something of
 * the other kind is there, or the nearest folder above that exists is none or may not be written.
 * @throws UsageError `E_FILE` or `E_NO_ACCESS`, beginning with `operation`.
 */
export async function checkWritable(
  operation: string,
  path: string,
  kind: 'file' | 'folder',
): Promise<void> {
  const target = resolve(path);
  const there = await stat(target).catch(() => null);
  if (there && kind === 'folder' && !there.isDirectory()) {
    throw fileError(operation, path, { code: 'ENOTDIR' });
  }
  if (there?.isDirectory() && kind === 'file') throw fileError(operation, path, { code: 'EISDIR' });
  let folder = dirname(target);
  let stats = await stat(folder).catch(() => null);
  while (!stats && folder !== dirname(folder)) {
    folder = dirname(folder);
    stats = await stat(folder).catch(() => null);
  }
  if (stats && !stats.isDirectory()) throw fileError(operation, folder, { code: 'ENOTDIR' });
  try {
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw fileError(operation, folder, error);
  }
}

/** A name beside `path` for something unfinished: hidden, and unlike any other run's. */
export function temporaryBeside(path: string): string {
  const unique = `${process.pid}-${randomBytes(4).toString('hex')}`;
  return join(dirname(path), `.${basename(path)}.tmp-${unique}`);
}

async function syncPath(path: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    await handle.sync();
  } catch (error) {
    // Some file systems cannot sync a folder; the rename itself is atomic regardless.
    if (!['EISDIR', 'EINVAL', 'EPERM', 'EACCES', 'ENOTSUP'].includes(errnoOf(error) ?? '')) {
      throw error;
    }
  } finally {
    await handle?.close();
  }
}

async function syncTree(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) await syncTree(child);
    else if (entry.isFile()) await syncPath(child);
  }
  await syncPath(path);
}

/** A path with its symbolic links followed where it exists: a rename must not replace a link. */
async function realTarget(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return resolve(path);
  }
}

/**
 * Writes a file whole or not at all: into a temporary file beside it, synced, then renamed over it.
 * Missing parent folders are made. What is there and no file, such as a pipe, is written to as it is.
 * @throws UsageError `E_DISK_FULL`, `E_NO_ACCESS` or `E_FILE`; nothing half-written is left.
 */
export async function writeFileAtomic(path: string, data: Uint8Array | string): Promise<void> {
  const target = await realTarget(path);
  const there = await stat(target).catch(() => null);
  if (there && !there.isFile() && !there.isDirectory()) {
    // A rename would replace the device or pipe by a file.
    await writeFile(target, data).catch((error) => {
      throw fileError('write', path, error);
    });
    return;
  }
  const temporary = temporaryBeside(target);
  try {
    await mkdir(dirname(target), { recursive: true });
    const handle = await open(temporary, 'wx');
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
    await syncPath(dirname(target));
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw fileError('write', path, error);
  }
}

/**
 * Moves a finished file to its place: synced, then renamed. Both must be on one file system.
 * @throws UsageError `E_DISK_FULL`, `E_NO_ACCESS` or `E_FILE`.
 */
export async function moveFileAtomic(from: string, to: string): Promise<void> {
  try {
    await mkdir(dirname(to), { recursive: true });
    await syncPath(from);
    await rename(from, to);
    await syncPath(dirname(to));
  } catch (error) {
    throw fileError('move', to, error);
  }
}

/**
 * Makes a folder whole or not at all: `fill` writes into a temporary folder beside it, which is
 * synced and renamed into place. A folder already there is swapped out; entries of it that the new
 * one does not have are kept, so pointing this at a folder with other files loses none of them,
 * but for those named in `owned`: they are part of what is written, and gone where `fill` makes none.
 * @throws UsageError `E_DISK_FULL`, `E_NO_ACCESS` or `E_FILE`, and whatever typed error `fill`
 * throws; nothing half-written is left and the old folder stays as it was.
 */
export async function writeFolderAtomic(
  path: string,
  fill: (temporaryDir: string) => Promise<void>,
  owned: readonly string[] = [],
): Promise<void> {
  const target = await realTarget(path);
  const temporary = temporaryBeside(target);
  const old = `${temporary}-old`;
  try {
    await mkdir(dirname(target), { recursive: true });
    const existing = await stat(target).catch(() => null);
    if (existing && !existing.isDirectory()) {
      throw new UsageError(`write: ${path}: is a file, a folder is wanted there`, 'E_FILE');
    }
    await mkdir(temporary);
    await fill(temporary);
    await syncTree(temporary);
    if (existing) {
      await rename(target, old);
      try {
        await rename(temporary, target);
      } catch (error) {
        await rename(old, target);
        throw error;
      }
      const fresh = new Set([...(await readdir(target)), ...owned]);
      for (const name of await readdir(old)) {
        if (!fresh.has(name)) await rename(join(old, name), join(target, name));
      }
      await rm(old, { recursive: true, force: true });
    } else {
      await rename(temporary, target);
    }
    await syncPath(dirname(target));
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    // A caller's own failure (a bug, an abort) is not a failure of the file system.
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    throw fileError('write', path, error);
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

/**
 * The file a worker's URL stands for. Source says `new URL('./x.ts', import.meta.url)`; the
 * compiler rewrites imports but not URLs, so in a build the entry lies beside as `x.js`.
 */
function workerEntry(url: URL): URL {
  if (url.protocol !== 'file:' || !url.pathname.endsWith('.ts')) return url;
  if (existsSync(fileURLToPath(url))) return url;
  const built = new URL(url);
  built.pathname = url.pathname.replace(/\.ts$/, '.js');
  return built;
}

/** Delivers to the first listener what came before it, then to all listeners what comes after. */
function mailbox<T>(): { deliver(value: T): void; listen(callback: (value: T) => void): void } {
  const listeners: ((value: T) => void)[] = [];
  const early: T[] = [];
  return {
    deliver(value) {
      if (listeners.length === 0) early.push(value);
      for (const listener of listeners) listener(value);
    },
    listen(callback) {
      listeners.push(callback);
      for (const value of early.splice(0)) callback(value);
    },
  };
}

/**
 * Starts a thread on a module: a `.ts` file under Node's type stripping, or the built `.js` beside
 * where the `.ts` was. A running thread keeps the process alive until it is terminated, unless it is
 * a `helper`: that does so until its first message, and then ends with the thread that started it.
 */
export function spawnWorker(
  url: URL,
  options: { helper?: boolean; youngMegabytes?: number } = {},
): WorkerPort {
  const entry = workerEntry(url);
  // Node lets what a thread has just made grow to tens of megabytes before it looks at it.
  const young = options.helper ? 1 : options.youngMegabytes;
  const worker = new Worker(entry, {
    name: basename(entry.pathname),
    resourceLimits: young === undefined ? undefined : { maxYoungGenerationSizeMb: young },
  });
  const errors = mailbox<Error>();
  const messages = mailbox<unknown>();
  let ending = false;
  worker.on('message', messages.deliver);
  worker.on('error', (error: unknown) => {
    ending = true; // the exit that follows says nothing new
    errors.deliver(error instanceof Error ? error : new Error(String(error)));
  });
  worker.on('messageerror', (error) => errors.deliver(error));
  worker.on('exit', (code) => {
    if (!ending) errors.deliver(new Error(`worker ${entry.pathname} ended with code ${code}`));
    ending = true;
  });
  if (options.helper) worker.once('message', () => worker.unref());
  return {
    postMessage(value, transfer) {
      worker.postMessage(value, transfer as TransferListItem[] | undefined);
    },
    onMessage: messages.listen,
    onError: errors.listen,
    async terminate() {
      ending = true;
      await worker.terminate();
    },
  };
}

/**
 * Has garbage collected before a heap has grown by more than a fifth, in all threads of the process.
 * By default it may double first: half of what a process of small heaps takes would be garbage.
 */
export function keepHeapsSmall(): void {
  setFlagsFromString('--heap-growing-percent=20');
}

/**
 * The channel to the thread that spawned this one.
 * @throws UsageError when called on the main thread.
 */
export function parentPort(): WorkerPort {
  const port = nodeParentPort;
  if (port === null) throw new UsageError('parentPort: this is the main thread, it has no parent');
  const errors = mailbox<Error>();
  port.on('messageerror', (error) => errors.deliver(error));
  return {
    postMessage(value, transfer) {
      port.postMessage(value, transfer as TransferListItem[] | undefined);
    },
    onMessage(callback) {
      port.on('message', callback);
    },
    onError: errors.listen,
    async terminate() {
      port.close();
    },
  };
}
