import { createHash } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import { fileByteSource, fileError } from '../platform/node.ts';
import { FormatError, ProtocolError, UsageError } from '../tensor/errors.ts';
import { filesOf, type NamedModel } from './models.ts';
import { download } from './pull-download.ts';
import { hubAccess } from './pull-hub-access.ts';

/** What a source is given to fetch with. */
export interface FetchContext {
  readonly model: NamedModel;
  /** An empty folder, on the file system of the target. */
  readonly temporaryDir: string;
  /** A folder on the same file system that outlives a pull that failed. */
  readonly partialDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  /** Told the bytes so far and in all. */
  readonly onBytes: (done: number, total: number) => void;
}

/** A fetched file and the SHA-256 of its bytes. */
export interface FetchedFile {
  readonly path: string;
  readonly sha256: string;
}

/**
 * Fetches a model's files one after the other, in the order of `filesOf`, with bytes counted over
 * all of them.
 * @param fetchOne fetches the weights' file of the model it is given
 * @returns undefined as soon as one file is not there
 */
export async function fetchEach(
  context: FetchContext,
  fetchOne: (context: FetchContext) => Promise<FetchedFile | undefined>,
): Promise<FetchedFile[] | undefined> {
  const { model } = context;
  const files = filesOf(model);
  const total = files.reduce((bytes, { size }) => bytes + size, 0);
  const fetched: FetchedFile[] = [];
  let before = 0;
  for (const [i, one] of files.entries()) {
    const temporaryDir = join(context.temporaryDir, String(i));
    await mkdir(temporaryDir);
    const start = before;
    const hub = model.hub.map((place) => ({
      ...place,
      file: one.file === model.file ? place.file : posix.join(posix.dirname(place.file), one.file),
    }));
    const result = await fetchOne({
      ...context,
      model: { ...model, ...one, hub, companions: [] },
      temporaryDir,
      onBytes: (done) => context.onBytes(start + done, total),
    });
    if (result === undefined) return undefined;
    fetched.push(result);
    before += one.size;
  }
  return fetched;
}

function refuse(message: string, cause?: unknown): never {
  throw new ProtocolError(message, 'E_PULL', { cause });
}

/** Writes chunks to a new file while hashing them. */
async function writeHashed(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  total: number,
  onBytes: (done: number, total: number) => void,
): Promise<FetchedFile> {
  const hash = createHash('sha256');
  const handle = await open(path, 'wx').catch((error) => {
    throw fileError('write', path, error);
  });
  try {
    let done = 0;
    for await (const chunk of chunks) {
      hash.update(chunk);
      await handle.writeFile(chunk).catch((error) => {
        throw fileError('write', path, error);
      });
      done += chunk.byteLength;
      // More than was announced would fill the disk before the hash refuses it.
      if (done > total) refuse(`it sends more than the ${total} bytes expected`);
      onBytes(done, total);
    }
  } finally {
    await handle.close();
  }
  return { path, sha256: hash.digest('hex') };
}

/** The beginning of a file whose download broke off; a later pull goes on from it. */
export const INCOMPLETE = /^\..*\.incomplete$/;

/**
 * Fetches a model's file from the hub: the endpoint in `HF_ENDPOINT`, with the token in `HF_TOKEN`.
 * What came before a failure stays in `partialDir`.
 * @param connectMs how long an answer may take to begin.
 * @throws ProtocolError `E_PULL` when no repository of the model gives it, saying why; FormatError
 * `E_MODEL_HASH` when the last gives another file; UsageError when it cannot be written.
 */
export async function fetchFromHub(context: FetchContext, connectMs: number): Promise<FetchedFile> {
  const { model, env, signal } = context;
  const hub = hubAccess(env);
  const partial = join(
    context.partialDir,
    `.${basename(model.file)}.${model.sha256.slice(0, 12)}.incomplete`,
  );
  const failures: string[] = [];
  for (const { repo, revision, file } of model.hub) {
    try {
      await download({
        url: `${hub.endpoint}/${repo}/resolve/${revision}/${file}`,
        place: { repo, revision },
        hub,
        partial,
        size: model.size,
        digest: { kind: 'sha256', hex: model.sha256 },
        signal,
        connectMs,
        impatient: true,
        onBytes: (done) => context.onBytes(done, model.size),
      });
      return { path: partial, sha256: model.sha256 };
    } catch (error) {
      signal?.throwIfAborted();
      // A full or forbidden disk is the same for every repository.
      if (error instanceof UsageError && error.code !== 'E_NOT_FOUND') throw error;
      if (error instanceof FormatError && model.hub.length === 1) throw error;
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  return refuse(failures.join('; '));
}

/**
 * Copies a model's file out of the hub library's own cache (`HF_HUB_CACHE`, else `HF_HOME`), where
 * another tool has fetched it before.
 * @returns undefined when it is not there.
 */
export async function fetchFromHubCache(context: FetchContext): Promise<FetchedFile | undefined> {
  const { model, env } = context;
  const { cache } = hubAccess(env);
  for (const { repo, revision, file } of model.hub) {
    const folder = `models--${repo.replaceAll('/', '--')}`;
    const source = await fileByteSource(join(cache, folder, 'snapshots', revision, file)).catch(
      () => undefined,
    );
    if (source === undefined) continue;
    try {
      if (source.size !== model.size) continue;
      const step = 2 ** 22;
      const chunks = async function* () {
        for (let at = 0; at < source.size; at += step) {
          context.signal?.throwIfAborted();
          yield await source.read(at, Math.min(step, source.size - at));
        }
      };
      const path = join(context.temporaryDir, 'hub-cache');
      return await writeHashed(path, chunks(), model.size, context.onBytes);
    } finally {
      await source.close();
    }
  }
  return undefined;
}
