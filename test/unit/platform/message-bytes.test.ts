import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { messageFromBytes, messageToBytes } from '../../../src/platform/message-bytes.ts';
import { connectRpc, serveRpc } from '../../../src/platform/rpc.ts';
import { type SocketLike, socketPort } from '../../../src/platform/socket-port.ts';
import { BackendError, FormatError } from '../../../src/tensor/errors.ts';

const through = (message: unknown) => messageFromBytes(messageToBytes(message).buffer);

const floats = fc.float32Array({ noNaN: false });
const leaf = fc.oneof(
  fc.string(),
  fc.boolean(),
  fc.constant(null),
  fc.double().map((x) => (Object.is(x, -0) ? 0 : x)),
  fc.uint8Array({ maxLength: 9 }),
  fc.int32Array({ maxLength: 5 }),
  floats,
  fc.float64Array({ maxLength: 5 }),
);
// Names with a $ in front are the format's own.
const key = fc.string().filter((name) => !name.startsWith('$') && name !== '__proto__');

describe('messages as bytes', () => {
  it('come back as they went, arrays of numbers bit for bit', () => {
    const { message } = fc.letrec((tie) => ({
      message: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.array(tie('message'), { maxLength: 4 }),
        fc.dictionary(key, tie('message'), { maxKeys: 4, noNullPrototype: true }),
      ),
    }));
    fc.assert(fc.property(message, (value) => assert.deepEqual(through(value), value)));
  });

  it('hold what JSON has not, take views, and leave out what is undefined', () => {
    const all = Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY, 4);
    const message = { loss: Number.NaN, worst: Number.NEGATIVE_INFINITY, part: all.subarray(1, 3) };
    assert.deepEqual(through({ ...message, nothing: undefined }), {
      ...message,
      part: Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY),
    });
    assert.deepEqual(through(Buffer.from([1, 2])), Uint8Array.of(1, 2));
  });

  it('refuse what they cannot hold, and bytes that are none', () => {
    assert.throws(() => messageToBytes({ big: new BigInt64Array(1) }), FormatError);
    assert.throws(() => messageFromBytes(new ArrayBuffer(2)), FormatError);
    const bytes = messageToBytes({ part: new Float32Array(8) });
    assert.throws(() => messageFromBytes(bytes.buffer.slice(0, -8)), FormatError);
  });
});

/** Two ends of a socket in one process. */
function pair(): [SocketLike, SocketLike] {
  type Listener = (event: { data: unknown }) => void;
  const ends = [0, 1].map(() => ({ message: [] as Listener[], close: [] as Listener[] }));
  const end = (own: number): SocketLike => ({
    binaryType: '',
    send(data) {
      const { buffer } = data.slice();
      queueMicrotask(() => {
        for (const listener of ends[1 - own].message) listener({ data: buffer });
      });
    },
    close() {
      for (const { close } of ends) for (const listener of close) listener({ data: undefined });
    },
    addEventListener(type: string, listener: Listener) {
      if (type !== 'error') ends[own][type as 'message' | 'close'].push(listener);
    },
  });
  return [end(0), end(1)];
}

describe('calls over a socket', () => {
  it('give results and typed errors, and all fail when the other end is gone', async () => {
    const [here, there] = pair();
    serveRpc(socketPort(there, 'gone'), {
      double: (x: Float32Array) => x.map((value) => 2 * value),
      fail: () => {
        throw new BackendError('no kernel');
      },
      never: () => new Promise(() => {}),
    });
    const rpc = connectRpc(socketPort(here, 'the other end is gone'));
    assert.deepEqual(await rpc.call('double', Float32Array.of(1, 2)), Float32Array.of(2, 4));
    await assert.rejects(rpc.call('fail'), { code: 'E_BACKEND', message: 'no kernel' });
    const waiting = rpc.call('never');
    there.close();
    await assert.rejects(waiting, { code: 'E_BACKEND', message: 'the other end is gone' });
    await assert.rejects(rpc.call('double', new Float32Array(1)), /gone/);
  });
});
