import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileError, isRunning } from '../platform/node.ts';

/** How often a holder shows that it lives, and how often a waiter looks, in ms. */
const HEARTBEAT_MS = 5_000;
const POLL_MS = 200;
/** A lock that showed no life for this long belongs to nobody: a killed process, a lost host. */
const STALE_MS = 6 * HEARTBEAT_MS;

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code;
}

/** Whether the process that a lock's text names has ended: only known of this host's processes. */
function holderIsGone(text: string): boolean {
  const [host, pid] = text.split(' ');
  return host === hostname() && !isRunning(Number(pid));
}

/** Removes a lock whose holder is gone; a lock taken by somebody else meanwhile is put back. */
async function removeIfStale(path: string): Promise<void> {
  try {
    const text = await readFile(path, 'utf8');
    const idle = Date.now() - (await stat(path)).mtimeMs;
    // An empty lock is being written right now, or its writer was killed in between.
    if (idle < STALE_MS && (text === '' || !holderIsGone(text))) return;
    const aside = `${path}.${randomBytes(4).toString('hex')}`;
    await rename(path, aside);
    if ((await readFile(aside, 'utf8')) !== text) await link(aside, path).catch(() => {});
    await rm(aside, { force: true });
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error; // gone by itself is what was wanted
  }
}

/**
 * Runs `body` while holding a lock file, so that only one process at a time does. Locks of
 * processes that were killed are taken over.
 * @param options.onWait is called once when somebody else holds it.
 * @param options.signal ends the waiting; the promise then rejects with the signal's reason.
 * @throws UsageError `E_NO_ACCESS` and such when the lock cannot be written.
 */
export async function withFileLock<T>(
  path: string,
  body: () => Promise<T>,
  options: { onWait?: () => void; signal?: AbortSignal } = {},
): Promise<T> {
  const text = `${hostname()} ${process.pid} ${randomBytes(8).toString('hex')}`;
  let waiting = false;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      await mkdir(dirname(path), { recursive: true });
      const handle = await open(path, 'wx');
      try {
        await handle.writeFile(text);
      } finally {
        await handle.close();
      }
      break;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw fileError('lock', path, error);
    }
    if (!waiting) options.onWait?.();
    waiting = true;
    await removeIfStale(path);
    await sleep(POLL_MS);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // losing one beat is what STALE_MS allows for
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await body();
  } finally {
    clearInterval(heartbeat);
    const held = await readFile(path, 'utf8').catch(() => '');
    if (held === text) await rm(path, { force: true });
  }
}
