import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { parentPort as nodeParentPort, type TransferListItem, Worker } from 'node:worker_threads';
import { UsageError } from '../tensor/errors.ts';
import type { WorkerPort } from './worker.ts';

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
