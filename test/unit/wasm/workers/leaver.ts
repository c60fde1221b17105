// A thread for threads.test.ts that comes up, takes no part, and ends after a while.
import { parentPort } from '../../../../src/platform/node.ts';
import type { ThreadMessage } from '../../../../src/tensor/backends/wasm/kernel-thread.ts';

const port = parentPort();
port.onMessage((value) => {
  if ((value as ThreadMessage).kind !== 'start') return;
  port.postMessage({ kind: 'ready' });
  setTimeout(() => process.exit(0), 100);
});
