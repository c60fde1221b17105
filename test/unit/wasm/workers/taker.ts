// A thread for threads.test.ts that takes one part of the first job it sees, and dies over it.
import { parentPort } from '../../../../src/platform/node.ts';
import type { ThreadMessage } from '../../../../src/tensor/backends/wasm/kernel-thread.ts';
import { controlOver, WORD } from '../../../../src/tensor/backends/wasm/thread-control.ts';

const port = parentPort();
port.onMessage((value) => {
  const message = value as ThreadMessage;
  if (message.kind !== 'start') return;
  const { words } = controlOver(message.block);
  port.postMessage({ kind: 'ready' });
  for (;;) {
    const ticket = Atomics.load(words, WORD.ticket);
    if ((ticket & 0xffff) === 0) continue;
    if (Atomics.compareExchange(words, WORD.ticket, ticket, ticket - 1) === ticket) break;
  }
  process.exit(0);
});
