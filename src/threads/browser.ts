import { workerPort } from '../platform/browser.ts';
import type { KernelThread } from '../tensor/backends/wasm/thread-pool.ts';

/**
 * Starts a thread for `wasmBackend({ threads, spawn })`. To be called in a worker, where Atomics may
 * wait, of a page with the headers `Cross-Origin-Opener-Policy: same-origin` and
 * `Cross-Origin-Embedder-Policy: require-corp`.
 */
export function spawnKernelThread(): KernelThread {
  // Compilers rewrite imports, not URLs: the entry ends as this module does.
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const url = new URL(`./browser-thread.${extension}`, import.meta.url);
  return workerPort(new Worker(url, { type: 'module', name: 'kernels' }));
}
