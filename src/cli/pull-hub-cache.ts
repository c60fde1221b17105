import { copyFile, mkdir, readdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileError, writeFileAtomic } from '../platform/node.ts';
import { UsageError } from '../tensor/errors.ts';
import type { HubAccess, HubPlace } from './pull-hub-access.ts';

/** A commit's name; a revision of this form needs no looking up. */
const COMMIT = /^[0-9a-f]{40}$/;

/**
 * Takes `org/name` or `org/name@revision` apart.
 * @returns undefined where the text is of another form: a path, a model's short name
 */
export function parseRepo(text: string): HubPlace | undefined {
  const match = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([\w][\w./-]*))?$/.exec(text);
  const revision = match?.[2] ?? 'main';
  if (!match || revision.split('/').some((part) => part === '' || /^\.+$/.test(part)))
    return undefined;
  return { repo: match[1], revision };
}

/** Folders of a repository in the hub's own cache layout, which other tools read and write, too. */
export function cacheFolders(hub: HubAccess, repo: string) {
  const name = `models--${repo.replaceAll('/', '--')}`;
  const root = join(hub.cache, name);
  return {
    /** Files by their hash. */
    blobs: join(root, 'blobs'),
    /** What a branch or tag was when it was last fetched. */
    ref: (revision: string) => join(root, 'refs', ...revision.split('/')),
    /** Names of files at a commit, as links to blobs. */
    snapshot: (commit: string) => join(root, 'snapshots', commit),
    lock: join(hub.cache, '.locks', name, 'mobillm.lock'),
  };
}

/** The commit that a revision is, as far as the cache knows. */
export async function cachedCommit(hub: HubAccess, place: HubPlace): Promise<string | undefined> {
  if (COMMIT.test(place.revision)) return place.revision;
  const path = cacheFolders(hub, place.repo).ref(place.revision);
  const text = await readFile(path, 'utf8').catch(() => '');
  return COMMIT.test(text.trim()) ? text.trim() : undefined;
}

/** Notes which commit a branch or tag is. */
export async function writeRef(hub: HubAccess, place: HubPlace, commit: string): Promise<void> {
  if (COMMIT.test(place.revision)) return;
  await writeFileAtomic(cacheFolders(hub, place.repo).ref(place.revision), commit);
}

/**
 * Gives a blob its name in a snapshot: by a link, or by a copy where the file system has none.
 * @throws UsageError `E_NO_ACCESS`, `E_DISK_FULL` or `E_FILE`
 */
export async function linkIntoSnapshot(blob: string, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await symlink(relative(dirname(path), blob), path).catch((error) => {
      if (!['EPERM', 'ENOSYS', 'ENOTSUP'].includes(error.code)) throw error;
      return copyFile(blob, path);
    });
  } catch (error) {
    throw fileError('pull', path, error);
  }
}

/** Files below a folder as `/` paths; links that lead nowhere are left out. */
async function filesIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(folder, { recursive: true }).catch(() => [])) {
    const stats = await stat(join(folder, name)).catch(() => undefined);
    if (stats?.isFile()) found.push(name.replaceAll('\\', '/'));
  }
  return found.sort();
}

/**
 * What to open of the files that were fetched: the folder where it holds a model in Hugging Face's
 * layout, else its one GGUF file.
 * @returns undefined where there is neither
 * @throws UsageError `E_USAGE` where there are several GGUF files
 */
export async function modelInSnapshot(
  snapshot: string,
  place: HubPlace,
): Promise<string | undefined> {
  const files = await filesIn(snapshot);
  const safetensors = files.some((name) => /^[^/]*\.safetensors$/.test(name));
  if (safetensors && files.includes('config.json')) return snapshot;
  const gguf = files.filter((name) => name.toLowerCase().endsWith('.gguf'));
  if (gguf.length > 1) {
    const paths = gguf.map((name) => join(snapshot, name)).join(', ');
    throw new UsageError(`${place.repo}: several GGUF files were pulled; give one of ${paths}`);
  }
  return gguf.length === 1 ? join(snapshot, gguf[0]) : undefined;
}

/**
 * Where a repository that was pulled before lies: its folder, or its GGUF file.
 * @returns undefined where nothing of it is in the cache
 * @throws UsageError `E_USAGE` where there are several GGUF files
 */
export async function findPulled(hub: HubAccess, place: HubPlace): Promise<string | undefined> {
  const commit = await cachedCommit(hub, place);
  if (commit === undefined) return undefined;
  return modelInSnapshot(cacheFolders(hub, place.repo).snapshot(commit), place);
}
