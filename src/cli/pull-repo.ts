import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { moveFileAtomic } from '../platform/node.ts';
import { FormatError, MobillmError, ProtocolError, UsageError } from '../tensor/errors.ts';
import { withFileLock } from './file-lock.ts';
import { download, type FileDigest, hashFile, startHash } from './pull-download.ts';
import {
  explainRefusal,
  type HubAccess,
  type HubPlace,
  hubAccess,
  reasonOf,
  watchRequest,
} from './pull-hub-access.ts';
import {
  cachedCommit,
  cacheFolders,
  findPulled,
  linkIntoSnapshot,
  modelInSnapshot,
  writeRef,
} from './pull-hub-cache.ts';
import { type PullProgress, type Report, reporter } from './pull-report.ts';
import { type FileChoice, type RepoFile, selectFiles } from './pull-select.ts';

/** Files that are fetched at a time. */
const PARALLEL = 4;

/** Settings of a pull from the hub; all have defaults. */
export interface PullRepoOptions extends FileChoice {
  readonly onProgress?: (progress: PullProgress) => void;
  /** Ask no network: the files must be there. */
  readonly offline?: boolean;
  readonly signal?: AbortSignal;
  /** The environment: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`. */
  readonly env?: NodeJS.ProcessEnv;
  readonly connectMs?: number;
  /** How long an answer may pause between two pieces, in ms. */
  readonly stallMs?: number;
  /** The pause before a broken download is asked for again, in ms; it doubles from try to try. */
  readonly pauseMs?: number;
}

/** A file that a pull has put in place. */
export interface PulledFile {
  /** Below the repository's root. */
  readonly file: string;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** What its bytes were held against: SHA-256, or git's hash of small files. */
  readonly digest: FileDigest;
}

/** A repository whose files are in the cache. */
export interface PulledRepo {
  /** What `--model` takes: the folder, or the GGUF file. */
  readonly path: string;
  readonly repo: string;
  readonly revision: string;
  /** The commit that the revision is. */
  readonly commit: string;
  readonly source: 'cache' | 'hub';
  /** Empty where nobody was asked what it should hold. */
  readonly files: readonly PulledFile[];
}

interface ListedFile extends RepoFile {
  readonly digest: FileDigest;
}

/** A path that a listing gives; it becomes a name on this disk. */
function checkPath(path: string, repo: string): string {
  const parts = path.split('/');
  const bad = parts.some((part) => part === '' || part === '.' || part === '..');
  if (bad || /[\\:]|^\//.test(path) || path.includes('\0')) {
    throw new FormatError(
      `pull: ${repo} lists a file by the path ${JSON.stringify(path)}; refused`,
    );
  }
  return path;
}

/** Asks the hub for the commit behind a revision and the files it has. */
async function listRepo(
  hub: HubAccess,
  place: HubPlace,
  { signal, connectMs }: PullRepoOptions,
): Promise<{ commit: string; files: ListedFile[] }> {
  // Here and not above: a sixth of the time that every other command would take to start.
  const { listFiles, modelInfo } = await import('@huggingface/hub');
  const watch = watchRequest(signal, { connectMs });
  const explained: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    // Here, because the library takes tokens of one form only, and mirrors have others.
    if (hub.token) headers.set('authorization', `Bearer ${hub.token}`);
    const response = await watch.fetch(input, { ...init, headers });
    if (!response.ok) throw explainRefusal(response, place, hub);
    return response;
  };
  const shared = { hubUrl: hub.endpoint, fetch: explained };
  try {
    const { repo, revision } = place;
    const { sha: commit } = await modelInfo({
      ...shared,
      name: repo,
      revision,
      additionalFields: ['sha'],
    });
    if (!/^[0-9a-f]{40}$/.test(commit ?? '')) {
      throw new FormatError(`pull: ${repo}: the hub names no commit for ${revision}`);
    }
    const files: ListedFile[] = [];
    for await (const entry of listFiles({ ...shared, repo, revision: commit, recursive: true })) {
      if (entry.type !== 'file') continue;
      const hex = entry.lfs?.oid ?? entry.oid ?? '';
      const kind = entry.lfs ? 'sha256' : 'git';
      if (!(kind === 'git' ? /^[0-9a-f]{40}$/ : /^[0-9a-f]{64}$/).test(hex)) {
        throw new FormatError(`pull: ${repo}: the hub gives no hash of ${entry.path}`);
      }
      const size = entry.lfs?.size ?? entry.size;
      if (!Number.isSafeInteger(size) || size < 0) {
        throw new FormatError(`pull: ${repo}: the hub gives no size of ${entry.path}`);
      }
      files.push({ path: checkPath(entry.path, repo), size, digest: { kind, hex } });
    }
    return { commit, files };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof MobillmError) throw error;
    const reason = reasonOf(watch.signal.aborted ? watch.signal.reason : error);
    throw new ProtocolError(`${place.repo}: ${hub.endpoint}: ${reason}`, 'E_PULL', {
      cause: error,
    });
  } finally {
    watch.stop();
  }
}

/** Runs `work` over all items, `PARALLEL` at a time; the first failure stops the others. */
async function inParallel<T>(
  items: readonly T[],
  outer: AbortSignal | undefined,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const signal = outer ? AbortSignal.any([outer, controller.signal]) : controller.signal;
  const queue = [...items];
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      try {
        await work(item, signal);
      } catch (error) {
        // What the others fail with after this is only the abort.
        failure ??= { error };
        controller.abort(error);
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
  outer?.throwIfAborted();
  if (failure) throw failure.error;
}

/** Fetches what is missing of `files` into the blobs; tells whether anything was. */
async function fetchBlobs(
  hub: HubAccess,
  place: HubPlace & { commit: string },
  files: readonly ListedFile[],
  report: Report,
  options: PullRepoOptions,
): Promise<boolean> {
  const { blobs } = cacheFolders(hub, place.repo);
  // The same bytes under two names are one blob.
  const unique = [...new Map(files.map((file) => [file.digest.hex, file])).values()];
  const total = unique.reduce((sum, { size }) => sum + size, 0);
  const missing: ListedFile[] = [];
  const done = new Map<string, number>();
  const tell = (phase: 'verifying' | 'downloading') => {
    const bytes = [...done.values()].reduce((sum, one) => sum + one, 0);
    const what = phase === 'verifying' ? 'what is there' : `${files.length} files`;
    report(phase, phase === 'verifying' ? 'cache' : 'hub', what, bytes, total);
  };
  for (const file of unique) {
    const path = join(blobs, file.digest.hex);
    const stats = await stat(path).catch(() => undefined);
    if (stats) {
      const hash = startHash(file.digest, file.size);
      if (stats.size === file.size) await hashFile(path, hash, options.signal);
      if (stats.size === file.size && hash.digest('hex') === file.digest.hex) {
        done.set(file.digest.hex, file.size);
        tell('verifying');
        continue;
      }
      report('failed', 'cache', `${path}: is not the expected file; fetching it again`);
      await rm(path);
    }
    const begun = await stat(`${path}.incomplete`).catch(() => undefined);
    done.set(file.digest.hex, Math.min(begun?.size ?? 0, file.size));
    missing.push(file);
  }
  if (missing.length === 0) return false;
  tell('downloading');
  await inParallel(missing, options.signal, async ({ path, size, digest }, signal) => {
    const blob = join(blobs, digest.hex);
    const name = path.split('/').map(encodeURIComponent).join('/');
    await download({
      url: `${hub.endpoint}/${place.repo}/resolve/${place.commit}/${name}`,
      place,
      hub,
      partial: `${blob}.incomplete`,
      size,
      digest,
      signal,
      connectMs: options.connectMs,
      stallMs: options.stallMs,
      pauseMs: options.pauseMs,
      onBytes: (bytes) => {
        done.set(digest.hex, bytes);
        tell('downloading');
      },
    });
    await moveFileAtomic(`${blob}.incomplete`, blob);
  });
  return true;
}

/** What the cache has, when nobody may be asked. */
async function pullOffline(
  hub: HubAccess,
  place: HubPlace,
  { file = [], include = [] }: FileChoice,
): Promise<PulledRepo> {
  const commit = await cachedCommit(hub, place);
  let path: string | undefined;
  if (commit !== undefined) {
    const snapshot = cacheFolders(hub, place.repo).snapshot(commit);
    if (file.length === 1 && include.length === 0) {
      path = join(snapshot, checkPath(file[0], place.repo));
      if (!(await stat(path).catch(() => undefined))) path = undefined;
    } else path = await findPulled(hub, place);
  }
  if (commit === undefined || path === undefined) {
    const what = [place.repo, ...file].join(' ');
    throw new UsageError(
      `pull: ${what} at ${place.revision} is not in ${hub.cache}, and offline nothing is fetched`,
      'E_NOT_FOUND',
    );
  }
  return { path, ...place, commit, source: 'cache', files: [] };
}

/**
 * Fetches a repository's model into the hub's cache (`HF_HOME`), in the layout that other tools
 * share: each file under its hash, a folder of names a commit. Only the files that are needed or
 * chosen are fetched, several at a time; a download that broke goes on where it stopped, in this
 * call or a later one; and each file's bytes are held against the hash that the hub lists.
 * @throws UsageError `E_NOT_FOUND` for no such repository, revision or file, `E_USAGE` where a
 * file has to be chosen, `E_DISK_FULL`, `E_NO_ACCESS`; ProtocolError `E_UNAUTHORIZED`, `E_PULL`;
 * FormatError `E_MODEL_HASH` when other bytes come; the signal's reason when aborted
 */
export async function pullRepo(
  place: HubPlace,
  options: PullRepoOptions = {},
): Promise<PulledRepo> {
  const { signal, env = process.env } = options;
  signal?.throwIfAborted();
  const hub = hubAccess(env);
  if (options.offline || hub.offline) return pullOffline(hub, place, options);
  const report = reporter(options.onProgress);
  report('connecting', 'hub', `asking ${hub.endpoint} for ${place.repo}`);
  const { commit, files } = await listRepo(hub, place, options);
  const chosen = selectFiles(files, options, place.repo);
  const folders = cacheFolders(hub, place.repo);
  const snapshot = folders.snapshot(commit);
  return withFileLock(
    folders.lock,
    async () => {
      const fetched = await fetchBlobs(hub, { ...place, commit }, chosen, report, options);
      const pulled = chosen.map(({ path, size, digest }) => ({
        file: path,
        path: join(snapshot, path),
        size,
        digest,
      }));
      for (const { path, digest } of pulled) {
        await linkIntoSnapshot(join(folders.blobs, digest.hex), path);
      }
      await writeRef(hub, place, commit);
      const single = pulled.length === 1 ? pulled[0].path : undefined;
      // Several GGUF files that were all asked for are no fault; the folder is the answer then.
      const found = single ?? (await modelInSnapshot(snapshot, place).catch(() => undefined));
      const path = found ?? snapshot;
      return { path, ...place, commit, source: fetched ? 'hub' : 'cache', files: pulled };
    },
    { signal, onWait: () => report('waiting', 'cache', 'another process pulls the same model') },
  );
}
