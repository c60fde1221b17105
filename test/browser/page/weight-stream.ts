import { report } from './report.ts';

/* Has a worker stream weights out of the origin's private files, and passes on what it finds out. */

const worker = new Worker(new URL('./weight-stream-worker.ts', import.meta.url), {
  type: 'module',
});
worker.addEventListener('message', ({ data }) => report(data));
worker.addEventListener('error', ({ message }) =>
  report({ kind: 'failed', message: `worker: ${message}` }),
);
