// A worker for node.test.ts: TypeScript with types to strip and a TypeScript import.
import { monotonicMs } from '../../../../src/platform/clock.ts';
import { parentPort } from '../../../../src/platform/node.ts';

const port = parentPort();
port.postMessage({ ready: true, at: monotonicMs() });
port.onMessage((value) => {
  const message = value as { bytes?: Uint8Array; fail?: boolean; leave?: boolean };
  if (message.fail) throw new RangeError('worker failed on purpose');
  if (message.leave) process.exit(3);
  const bytes = (message.bytes as Uint8Array).map((byte) => byte + 1);
  port.postMessage({ bytes }, [bytes.buffer as ArrayBuffer]);
});
