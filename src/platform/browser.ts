import type { WorkerPort } from './worker.ts';

/** What a page's side and a worker's side of a channel have in common. */
interface MessageTarget {
  postMessage(value: unknown, transfer: Transferable[]): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
}

function portOver(target: MessageTarget, terminate: () => void): WorkerPort {
  let ended = false;
  return {
    postMessage: (value, transfer = []) => target.postMessage(value, [...transfer]),
    onMessage(callback) {
      target.addEventListener('message', (event) => callback((event as MessageEvent).data));
    },
    onError(callback) {
      const tell = (event: Event) => {
        if (ended) return;
        const { message } = event as Partial<ErrorEvent>;
        callback(new Error(message || 'the worker could not be started'));
      };
      target.addEventListener('error', tell);
      target.addEventListener('messageerror', tell);
    },
    async terminate() {
      ended = true;
      terminate();
    },
  };
}

/**
 * The channel to a module worker. Who bundles writes `new Worker(new URL(...), { type: 'module' })`
 * themselves, so that the bundler sees it, and hands the worker over.
 */
export function workerPort(worker: Worker): WorkerPort {
  return portOver(worker, () => worker.terminate());
}

/** The channel to the page, or worker, that started this worker. */
export function parentPort(): WorkerPort {
  const scope = globalThis as unknown as MessageTarget & { close(): void };
  return portOver(scope, () => scope.close());
}
