import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileError, isRunning } from '../platform/node.ts';
import { ProtocolError } from '../tensor/index.ts';
import type { HelloMessage, JobMessage } from '../transport/index.ts';
import { readSealed, writeSealed } from './sealed-file.ts';

const JOB_FILE = 'job';
const LOCK_FILE = 'lock';
const KEY = /^[0-9a-f]{32}$/;
const DAY_MS = 86_400_000;

/** What is not compared when a job is continued: it changes nothing of what comes out. */
const FREE = new Set(['type', 'resume', 'saveEvery']);

/** A job as it was begun. */
interface StoredJob {
  readonly model: HelloMessage['model'];
  readonly job: JobMessage;
  /** What trained it then. */
  readonly backend: string;
}

/** A job's folder, while nobody else may use it. */
export interface JobLease {
  readonly folder: string;
  /** What trained it when it was begun. */
  readonly backend: string;
  /** Lets others have it; what is in it stays. */
  release(): Promise<void>;
}

/**
 * Jobs on disk, a folder each, so that they outlive this process. A folder belongs to one
 * connection at a time, over all processes of this host that share the store.
 */
export class JobStore {
  private readonly folder: string;
  private readonly keepMs: number;
  /** Jobs in use here: how to end their use, and when it has ended. */
  private readonly used = new Map<string, { evict: () => void; released: Promise<void> }>();

  private constructor(folder: string, keepDays: number) {
    this.folder = folder;
    this.keepMs = keepDays * DAY_MS;
  }

  /**
   * Opens a store, making its folder where it is missing.
   * @param keepDays jobs that nobody touched for longer are removed
   * @throws UsageError (E_NO_ACCESS, E_FILE)
   */
  static async open(folder: string, keepDays: number): Promise<JobStore> {
    try {
      // Activations tell much of the texts: for this user alone.
      await mkdir(folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw fileError('--state-dir', folder, error);
    }
    const store = new JobStore(folder, keepDays);
    await store.expire();
    return store;
  }

  /**
   * A folder for a job: a new one, or that of the job to be continued.
   * @param backend what is going to train it
   * @param evict ends this use when another connection continues the job
   * @throws ProtocolError E_JOB_UNKNOWN where it is not held, E_JOB where it is another or cannot
   *   be had; FormatError (E_STATE) where it is damaged
   */
  async take(
    model: HelloMessage['model'],
    job: JobMessage,
    backend: string,
    evict: () => void,
  ): Promise<JobLease> {
    await this.expire();
    const { id } = job;
    const folder = join(this.folder, id);
    await this.free(id);
    let released: () => void = () => {};
    // Before the next await: of two that ask at once, one has it.
    const use = { evict, released: new Promise<void>((resolve) => (released = resolve)) };
    this.used.set(id, use);
    const release = async (locked = true) => {
      if (locked) await rm(join(folder, LOCK_FILE), { force: true }).catch(() => {});
      this.used.delete(id);
      released();
    };
    let locked = false;
    try {
      const there = (await stat(folder).catch(() => undefined)) !== undefined;
      if (job.resume && !there) throw unknownJob(id);
      if (!job.resume && there) throw new ProtocolError(`job ${id}: it exists already`, 'E_JOB');
      if (!there) await mkdir(folder, { mode: 0o700 });
      await lock(folder);
      locked = true;
      const now: StoredJob = { model, job, backend };
      const path = join(folder, JOB_FILE);
      if (!there) writeSealed(path, 'job', now);
      const begun = there ? (readSealed(path, 'job') as StoredJob) : now;
      compare(begun, now);
      return { folder, backend: begun.backend, release: () => release() };
    } catch (error) {
      await release(locked);
      throw fileError('save job', folder, error);
    }
  }

  /** Removes a job; one that is in use here is ended first. An unknown one is none. */
  async forget(id: string): Promise<void> {
    await this.free(id);
    await rm(join(this.folder, id), { recursive: true, force: true }).catch((error) => {
      throw fileError('forget job', this.folder, error);
    });
  }

  private async free(id: string): Promise<void> {
    for (let use = this.used.get(id); use; use = this.used.get(id)) {
      use.evict();
      await use.released;
    }
  }

  /** Removes jobs that nobody has come back for. */
  private async expire(): Promise<void> {
    for (const id of await readdir(this.folder).catch(() => [])) {
      if (!KEY.test(id) || this.used.has(id)) continue;
      const folder = join(this.folder, id);
      const files = await readdir(folder).catch((): string[] => []);
      // Another process of this host may be training it.
      if (files.includes(LOCK_FILE) && (await holderOf(folder))) continue;
      const times = await Promise.all(
        [folder, ...files.map((file) => join(folder, file))].map((path) =>
          stat(path).then(
            ({ mtimeMs }) => mtimeMs,
            () => 0,
          ),
        ),
      );
      if (Date.now() - Math.max(...times) < this.keepMs) continue;
      await rm(folder, { recursive: true, force: true }).catch(() => {});
    }
  }
}

/** The fault of a job that is not, or no longer, on this server. */
export function unknownJob(id: string): ProtocolError {
  return new ProtocolError(
    `job ${id}: this server does not hold it: it was started without --state-dir or with another one, or the job was finished or removed`,
    'E_JOB_UNKNOWN',
  );
}

/** The process that uses a job's folder, if there is one and it lives. */
async function holderOf(folder: string): Promise<string | undefined> {
  const text = await readFile(join(folder, LOCK_FILE), 'utf8').catch(() => '');
  const [host, pid] = text.split(' ');
  // One of this process's own number is of an earlier life: its uses here are in `used`.
  if (text === '' || (host === hostname() && Number(pid) === process.pid)) return undefined;
  return host !== hostname() || isRunning(Number(pid)) ? text : undefined;
}

async function lock(folder: string): Promise<void> {
  const holder = await holderOf(folder);
  if (holder !== undefined) {
    const [host, pid] = holder.split(' ');
    throw new ProtocolError(
      `job in ${folder}: process ${pid} on ${host} works on it; stop that one, or remove the file ${LOCK_FILE} there if it is gone`,
      'E_JOB',
    );
  }
  await writeFile(join(folder, LOCK_FILE), `${hostname()} ${process.pid}`);
}

/** Fails over the first thing in which a continued job differs from the one that was begun. */
function compare(stored: StoredJob, now: StoredJob): void {
  // On another backend the same steps differ in their last digits, which is no other job.
  const path = difference({ ...stored, backend: '' }, { ...now, backend: '' });
  if (path === undefined) return;
  const of = (root: unknown) =>
    JSON.stringify(path.reduce<unknown>((value, key) => (value as never)?.[key], root))?.slice(
      0,
      60,
    );
  throw new ProtocolError(
    `job ${now.job.id}: ${path.join('.')} was ${of(stored)} and is now ${of(now)}; a continued job has to be the same`,
    'E_JOB',
  );
}

/** The path to the first value in which two plain objects differ. */
function difference(a: unknown, b: unknown, path: string[] = []): string[] | undefined {
  const isObject = (value: unknown) => typeof value === 'object' && value !== null;
  if (!isObject(a) || !isObject(b)) return Object.is(a, b) ? undefined : path;
  const [from, to] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) {
    if (path.length === 1 && path[0] === 'job' && FREE.has(key)) continue;
    const found = difference(from[key], to[key], [...path, key]);
    if (found) return found;
  }
  return undefined;
}
