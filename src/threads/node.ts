import { spawnWorker } from '../platform/node.ts';
import type { KernelThread } from '../tensor/backends/wasm/thread-pool.ts';

/** Starts a thread for `wasmBackend({ threads, spawn })`; it ends with the thread that started it. */
export function spawnKernelThread(): KernelThread {
  return spawnWorker(new URL('./node-thread.ts', import.meta.url), { helper: true });
}
