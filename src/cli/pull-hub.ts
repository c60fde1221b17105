import { createHash } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, posix } from 'node:path';
import { downloadFile } from '@huggingface/hub';
import { fileByteSource, fileError } from '../platform/node.ts';
import { ProtocolError } from '../tensor/errors.ts';
import { filesOf, type NamedModel } from './models.ts';

/** A stream that brings nothing for this long is given up, in ms. */
const STALL_MS = 30_000;

/** What a source is given to fetch with. */
export interface FetchContext {
  readonly model: NamedModel;
  /** An empty folder, on the file system of the target. */
  readonly temporaryDir: string;
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

/** Whether the environment forbids asking the hub (`HF_HUB_OFFLINE`, as the hub's library reads it). */
export function hubIsOffline(env: NodeJS.ProcessEnv): boolean {
  return /^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? '');
}

function refuse(message: string, cause?: unknown): never {
  throw new ProtocolError(message, 'E_PULL', { cause });
}

/**
 * Aborts when nothing happened for a while: a first, short time until an answer begins, then a
 * longer one from chunk to chunk.
 */
function watchdog(outer: AbortSignal | undefined) {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  return {
    signal: outer ? AbortSignal.any([outer, controller.signal]) : controller.signal,
    /** Allows `ms` from now on. */
    allow(ms: number, what: string) {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(new Error(what)), ms);
    },
    stop() {
      clearTimeout(timer);
    },
  };
}

/** What a failed request says to a person, in a few words. */
function reasonOf(error: unknown): string {
  const status = (error as { statusCode?: unknown }).statusCode;
  if (typeof status === 'number') return `it answered with status ${status}`;
  const cause = (error as { cause?: { code?: unknown; message?: unknown } }).cause;
  const detail = cause?.code ?? cause?.message;
  const message = error instanceof Error ? error.message : String(error);
  return detail === undefined ? message : `${message} (${String(detail)})`;
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

/**
 * Fetches a model's file from the hub: the endpoint in `HF_ENDPOINT`, with the token in `HF_TOKEN`.
 * @param connectMs how long an answer may take to begin.
 * @throws ProtocolError `E_PULL` when no repository of the model gives it, saying why; UsageError
 * when it cannot be written.
 */
export async function fetchFromHub(context: FetchContext, connectMs: number): Promise<FetchedFile> {
  const { model, env } = context;
  const failures: string[] = [];
  for (const { repo, revision, file } of model.hub) {
    const watch = watchdog(context.signal);
    const timedFetch: typeof fetch = async (input, init) => {
      watch.allow(connectMs, `no answer within ${connectMs / 1000} s`);
      const response = await fetch(input, { ...init, signal: watch.signal });
      watch.allow(STALL_MS, `no data for ${STALL_MS / 1000} s`);
      return response;
    };
    try {
      const blob = await downloadFile({
        repo,
        revision,
        path: file,
        fetch: timedFetch,
        hubUrl: env.HF_ENDPOINT?.replace(/\/+$/, '') || undefined,
        accessToken: env.HF_TOKEN || undefined,
        // One plain stream: resumable chunk stores pay off for files far larger than these.
        xet: false,
      });
      if (blob === null) refuse('it has no such file');
      if (blob.size !== model.size) {
        refuse(`its file has ${blob.size} bytes, ${model.size} are expected`);
      }
      const body = blob.stream() as ReadableStream<Uint8Array>;
      const beating = async function* () {
        for await (const chunk of body) {
          watch.allow(STALL_MS, `no data for ${STALL_MS / 1000} s`);
          yield chunk;
        }
      };
      const path = join(context.temporaryDir, `hub-${failures.length}`);
      return await writeHashed(path, beating(), model.size, context.onBytes);
    } catch (error) {
      context.signal?.throwIfAborted();
      if ((error as { code?: unknown }).code === 'E_DISK_FULL') throw error;
      const reason = watch.signal.aborted ? watch.signal.reason : error;
      failures.push(`${repo}: ${reasonOf(reason)}`);
    } finally {
      watch.stop();
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
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  const cache = env.HF_HUB_CACHE || join(home, 'hub');
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
