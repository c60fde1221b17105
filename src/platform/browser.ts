import { FormatError } from '../tensor/errors.ts';
import { type ByteSource, checkRange } from './byte-source.ts';
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

/** What a `FileSystemSyncAccessHandle` can do that reading takes. */
export interface SyncAccessHandle {
  read(target: Uint8Array, options: { at: number }): number;
  getSize(): number;
  close(): void;
}

/**
 * A file of the origin's private file system (OPFS), in a worker: what a forward pass streams weights
 * from, straight into the backend's memory. The handle comes from `createSyncAccessHandle()`, and is
 * closed with the source.
 */
export function opfsByteSource(handle: SyncAccessHandle, name: string): ByteSource {
  const size = handle.getSize();
  let open = true;
  const readIntoSync = (offset: number, target: Uint8Array) => {
    if (!open) throw new FormatError(`read: ${name}: source is closed`);
    checkRange(name, size, offset, target.byteLength);
    for (let done = 0; done < target.byteLength; ) {
      const got = handle.read(target.subarray(done), { at: offset + done });
      // The file was cut meanwhile: say so with the size it has now.
      if (got === 0) checkRange(name, handle.getSize(), offset, target.byteLength);
      done += got;
    }
  };
  return {
    name,
    size,
    async read(offset, length) {
      checkRange(name, size, offset, length);
      const bytes = new Uint8Array(length);
      readIntoSync(offset, bytes);
      return bytes;
    },
    async readInto(offset, target) {
      readIntoSync(offset, target);
    },
    readIntoSync,
    async close() {
      if (open) handle.close();
      open = false;
    },
  };
}
