import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileByteSource, fileError } from '../platform/node.ts';
import { FormatError, MobillmError, ProtocolError } from '../tensor/errors.ts';
import {
  explainRefusal,
  type HubAccess,
  type HubPlace,
  reasonOf,
  watchRequest,
} from './pull-hub-access.ts';

/** Tries in a row that bring no byte further, before a download is given up. */
const TRIES = 5;

/** The pause before the second try in ms; it doubles from try to try. */
const PAUSE_MS = 500;

/** What a file's bytes must hash to: SHA-256, or git's name of a blob for files kept in git itself. */
export type FileDigest =
  | { readonly kind: 'sha256'; readonly hex: string }
  | { readonly kind: 'git'; readonly hex: string };

/** One file to fetch. */
export interface Download {
  readonly url: string;
  readonly place: HubPlace;
  readonly hub: HubAccess;
  /** Where bytes are collected; what lies there already is the beginning of the file. */
  readonly partial: string;
  /** Bytes. */
  readonly size: number;
  readonly digest: FileDigest;
  readonly signal?: AbortSignal;
  /** Told the bytes so far; fewer than before where the download had to start anew. */
  readonly onBytes?: (done: number) => void;
  readonly connectMs?: number;
  readonly stallMs?: number;
  readonly pauseMs?: number;
  /** Give up when the first try gets no answer: there is another source. */
  readonly impatient?: boolean;
}

/** A fresh hash of the kind of `digest`. */
export function startHash(digest: FileDigest, size: number): Hash {
  // https://git-scm.com/book/en/v2/Git-Internals-Git-Objects: sha1("blob " + size + "\0" + bytes).
  if (digest.kind === 'git') return createHash('sha1').update(`blob ${size}\0`);
  return createHash('sha256');
}

/** Adds the first bytes of a file to a hash. */
export async function hashFile(path: string, hash: Hash, signal?: AbortSignal): Promise<void> {
  const source = await fileByteSource(path);
  try {
    const step = 2 ** 22;
    for (let at = 0; at < source.size; at += step) {
      signal?.throwIfAborted();
      hash.update(await source.read(at, Math.min(step, source.size - at)));
    }
  } finally {
    await source.close();
  }
}

/** A failure that another try may mend; all others end the download. */
class Broken extends Error {
  /** Whether the other end answered at all. */
  readonly answered: boolean;

  constructor(message: string, answered: boolean) {
    super(message);
    this.answered = answered;
  }
}

/** The file as far as it has come. */
class PartialFile {
  done = 0;
  hash: Hash;
  private readonly handle: FileHandle;
  private readonly download: Download;

  private constructor(handle: FileHandle, download: Download) {
    this.handle = handle;
    this.download = download;
    this.hash = startHash(download.digest, download.size);
  }

  static async open(download: Download): Promise<PartialFile> {
    const { partial, size, signal } = download;
    try {
      await mkdir(dirname(partial), { recursive: true });
      const handle = await open(partial, 'a+');
      const one = new PartialFile(handle, download);
      try {
        const there = (await handle.stat()).size;
        if (there > size) await one.restart();
        else if (there > 0) await hashFile(partial, one.hash, signal);
        one.done = Math.min(there, there > size ? 0 : there);
        return one;
      } catch (error) {
        await handle.close();
        throw error;
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw fileError('pull', partial, error);
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    this.hash.update(chunk);
    await this.handle.writeFile(chunk).catch((error) => {
      throw fileError('pull', this.download.partial, error);
    });
    this.done += chunk.byteLength;
  }

  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.done = 0;
    this.hash = startHash(this.download.digest, this.download.size);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** The first byte's place and the file's size in `Content-Range: bytes 5-9/10`. */
function rangeOf(response: Response): { start: number; total: number } | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
  return match ? { start: Number(match[1]), total: Number(match[2]) } : undefined;
}

/** Whether the same request may be answered another time. */
function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

function sizeError({ place, size }: Download, got: number): never {
  throw new FormatError(
    `${place.repo}: its file has ${got} bytes, ${size} are expected`,
    'E_MODEL_HASH',
  );
}

/** One request for what is missing; returns when all bytes are there. */
async function fetchRest(download: Download, file: PartialFile): Promise<void> {
  const { url, place, hub, size, signal, onBytes } = download;
  const watch = watchRequest(signal, download);
  let answered = false;
  try {
    const response = await watch.fetch(url, {
      headers: {
        // A compressed answer has other bytes, and other ranges.
        'accept-encoding': 'identity',
        ...(file.done > 0 ? { range: `bytes=${file.done}-` } : {}),
        ...(hub.token ? { authorization: `Bearer ${hub.token}` } : {}),
      },
    });
    if (isPassing(response.status))
      throw new Broken(`it answered with status ${response.status}`, false);
    answered = true;
    if (response.status === 416) {
      await file.restart();
      throw new Broken('it has no such range', true);
    }
    if (!response.ok) throw explainRefusal(response, place, hub);
    const range = response.status === 206 ? rangeOf(response) : undefined;
    if (range && range.total !== size) sizeError(download, range.total);
    if (response.status === 206 && range?.start !== file.done) {
      await file.restart();
      throw new Broken('it sent another range than asked for', true);
    }
    if (response.status !== 206) {
      const length = response.headers.get('content-length');
      if (length !== null && Number(length) !== size) sizeError(download, Number(length));
      // It knows no ranges: everything comes again.
      if (file.done > 0) await file.restart();
    }
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      watch.alive();
      // More than was announced would fill the disk before the hash refuses it.
      if (file.done + chunk.byteLength > size) sizeError(download, file.done + chunk.byteLength);
      await file.append(chunk);
      onBytes?.(file.done);
    }
    if (file.done < size) throw new Broken(`it ended after ${file.done} of ${size} bytes`, true);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof MobillmError || error instanceof Broken) throw error;
    throw new Broken(reasonOf(watch.signal.aborted ? watch.signal.reason : error), answered);
  } finally {
    watch.stop();
  }
}

/** Asks again and again, from where the last answer broke off, as long as that leads anywhere. */
async function fetchAll(download: Download, file: PartialFile): Promise<void> {
  const { size, signal, pauseMs = PAUSE_MS } = download;
  let farthest = file.done;
  let answered = false;
  for (let tries = 1; file.done < size; tries++) {
    try {
      await fetchRest(download, file);
    } catch (error) {
      if (!(error instanceof Broken)) throw error;
      // Beginning again from zero is no way forward until it passes where it broke before.
      if (file.done > farthest) tries = 1;
      farthest = Math.max(farthest, file.done);
      answered ||= error.answered;
      if (tries >= TRIES || (download.impatient && !answered)) {
        throw new ProtocolError(`${download.place.repo}: ${error.message}`, 'E_PULL', {
          cause: error,
        });
      }
      await sleep(pauseMs * 2 ** (tries - 1), undefined, { signal }).catch(() => {});
      signal?.throwIfAborted();
    }
  }
}

/**
 * Fetches a file into `partial`, going on from what is there: broken answers are asked again for
 * the rest, by range where the server knows ranges. What comes is held against size and hash; after
 * another hash everything is fetched anew, once.
 * @throws FormatError `E_MODEL_HASH` when the server gives another file; ProtocolError `E_PULL` when
 * it cannot be had, `E_UNAUTHORIZED`; UsageError `E_NOT_FOUND`, `E_DISK_FULL`; the signal's reason.
 * In all cases but the first what came stays, for the next call.
 */
export async function download(one: Download): Promise<void> {
  const { digest, partial, place } = one;
  for (let round = 0; ; round++) {
    const file = await PartialFile.open(one);
    try {
      one.onBytes?.(file.done);
      await fetchAll(one, file);
    } catch (error) {
      if (error instanceof FormatError || file.done === 0) await rm(partial, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    const hex = file.hash.digest('hex');
    if (hex === digest.hex) return;
    await rm(partial, { force: true });
    if (round > 0) {
      const kind = digest.kind === 'sha256' ? 'SHA-256' : 'git hash';
      throw new FormatError(
        `${place.repo}: file has ${kind} ${hex}, not ${digest.hex}; refused`,
        'E_MODEL_HASH',
      );
    }
  }
}
