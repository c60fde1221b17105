import { wasmBackend } from '../../../src/tensor/index.ts';
import { spawnKernelThread } from '../../../src/threads/browser.ts';
import { report } from './report.ts';

/* Has a worker compute in several threads, and says what the page itself may do. */

await report({
  kind: 'page',
  isolated: crossOriginIsolated,
  description: wasmBackend({ threads: 2, spawn: spawnKernelThread }).description,
});
// As a page's own worker would be; it passes on what it finds out.
const worker = new Worker(new URL('./threads-worker.ts', import.meta.url), { type: 'module' });
worker.addEventListener('message', ({ data }) => report(data));
worker.addEventListener('error', ({ message }) =>
  report({ kind: 'failed', message: `worker: ${message}` }),
);
