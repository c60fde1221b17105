import { randomBytes } from 'node:crypto';
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
import { basename, dirname, join, resolve } from 'node:path';
import { UsageError } from '../tensor/errors.ts';
import { errnoOf, fileError } from './node-read.ts';

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
