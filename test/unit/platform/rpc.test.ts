import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connectRpc, type RpcHandlers, serveRpc } from '../../../src/platform/rpc.ts';
import type { WorkerPort } from '../../../src/platform/worker.ts';
import {
  BackendError,
  DisposedError,
  DTypeError,
  FormatError,
  MobillmError,
  ProtocolError,
  ShapeError,
  UsageError,
} from '../../../src/tensor/errors.ts';

/** One end of a channel that clones, transfers and delays like a thread's. */
class TestPort implements WorkerPort {
  other: TestPort | undefined;
  stopped = false;
  deliver: (value: unknown) => void = () => {};
  die: (error: Error) => void = () => {};

  postMessage(value: unknown, transfer: readonly Transferable[] = []): void {
    const copy = structuredClone(value, { transfer: [...transfer] });
    queueMicrotask(() => this.stopped || this.other?.deliver(copy));
  }

  onMessage(callback: (value: unknown) => void): void {
    this.deliver = callback;
  }

  onError(callback: (error: Error) => void): void {
    this.die = callback;
  }

  async terminate(): Promise<void> {
    this.stopped = true;
  }
}

function rpcTo(handlers: RpcHandlers) {
  const [near, far] = [new TestPort(), new TestPort()];
  near.other = far;
  far.other = near;
  serveRpc(far, handlers);
  return { rpc: connectRpc(near), near };
}

/** What a call is rejected with. */
const faultOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => assert.fail('it was resolved'),
    (error) => error,
  );

describe('rpc', () => {
  it('gives results of plain and async methods to their own callers', async () => {
    const { rpc } = rpcTo({
      double: (n: number) => 2 * n,
      later: async (ms: number) => new Promise((done) => setTimeout(() => done(ms), ms)),
    });
    const slow = rpc.call<number>('later', 8);
    const quick = [1, 2, 3].map((n) => rpc.call<number>('double', n));
    assert.deepEqual(await Promise.all([...quick, slow]), [2, 4, 6, 8]);
    assert.equal(await rpc.call('double', 21), 42);
  });

  it('keeps class, code and message of every typed error', async () => {
    const errors: Record<string, MobillmError> = {
      shape: new ShapeError('add: lhs [2], rhs [3]'),
      dtype: new DTypeError('neg: u8'),
      disposed: new DisposedError('add: lhs was disposed'),
      backend: new BackendError('alloc: no memory'),
      format: new FormatError('a.gguf: bad', 'E_GGUF_MAGIC'),
      protocol: new ProtocolError('job: no', 'E_JOB'),
      usage: new UsageError('--layers: 99', 'E_USAGE'),
    };
    const { rpc } = rpcTo({
      fail(kind: string) {
        throw errors[kind];
      },
    });
    for (const [kind, expected] of Object.entries(errors)) {
      const error = await faultOf(rpc.call('fail', kind));
      assert.ok(error instanceof MobillmError);
      assert.equal(error.constructor, expected.constructor);
      assert.deepEqual(
        [error.name, error.code, error.message],
        [expected.name, expected.code, expected.message],
      );
      // Where it happened, not where it was put together again.
      assert.match(error.stack ?? '', /rpc\.test\.ts/);
    }
  });

  it('passes on what is no typed error as an error with its message', async () => {
    const { rpc } = rpcTo({
      range() {
        throw new RangeError('too far');
      },
      text: () => Promise.reject('only text'),
      // An errno is no code of ours.
      file() {
        throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      },
    });
    for (const [method, message] of [
      ['range', 'too far'],
      ['text', 'only text'],
      ['file', 'no such file'],
      ['none', 'worker has no method none'],
    ] as const) {
      const error = await faultOf(rpc.call(method));
      assert.ok(error instanceof Error && !(error instanceof MobillmError));
      assert.equal(error.message, message);
    }
  });

  it('tells its own caller of events, in order, before the outcome', async () => {
    const { rpc } = rpcTo({
      async count(to: number, { emit }) {
        for (let i = 1; i <= to; i++) {
          await Promise.resolve();
          emit(i);
        }
        return 'done';
      },
    });
    const heard: [string, number][] = [];
    const call = (name: string, to: number) =>
      rpc.call<string>('count', to, { onEvent: (n: number) => heard.push([name, n]) });
    const outcome = await Promise.all([call('a', 3), call('b', 2), rpc.call('count', 5)]);
    assert.deepEqual(outcome, ['done', 'done', 'done']);
    assert.deepEqual(
      heard.filter(([name]) => name === 'a').map(([, n]) => n),
      [1, 2, 3],
    );
    assert.deepEqual(
      heard.filter(([name]) => name === 'b').map(([, n]) => n),
      [1, 2],
    );
  });

  it('moves buffers both ways', async () => {
    const here: ArrayBuffer[] = [];
    const { rpc } = rpcTo({
      flip(bytes: Uint8Array, { transfer }) {
        const out = bytes.map((byte) => 255 - byte);
        here.push(out.buffer as ArrayBuffer);
        transfer(out.buffer as ArrayBuffer);
        return out;
      },
    });
    const sent = Uint8Array.of(0, 1, 2);
    const back = await rpc.call<Uint8Array>('flip', sent, { transfer: [sent.buffer] });
    assert.deepEqual(back, Uint8Array.of(255, 254, 253));
    assert.deepEqual([sent.length, here[0].byteLength], [0, 0]);
  });

  it('rejects an argument or a result that cannot cross, and goes on', async () => {
    const { rpc } = rpcTo({ echo: (x: unknown) => x, bad: () => () => {} });
    await assert.rejects(
      rpc.call('echo', () => {}),
      /could not be cloned/,
    );
    await assert.rejects(rpc.call('bad'), /could not be cloned/);
    assert.equal(await rpc.call('echo', 1), 1);
  });

  it('rejects all calls of a worker that died, and those that come later', async () => {
    const { rpc, near } = rpcTo({ wait: () => new Promise(() => {}) });
    const calls = [rpc.call('wait'), rpc.call('wait')];
    near.die(new BackendError('worker ran out of memory'));
    for (const call of [...calls, rpc.call('wait')]) {
      await assert.rejects(call, { name: 'BackendError', message: /out of memory/ });
    }
  });

  it('rejects all calls of a worker that was stopped', async () => {
    const { rpc, near } = rpcTo({ wait: () => new Promise(() => {}), quick: () => 1 });
    const call = rpc.call('wait');
    const stopping = rpc.terminate();
    await assert.rejects(call, /worker was stopped/);
    await stopping;
    assert.ok(near.stopped);
    await assert.rejects(rpc.call('quick'), /worker was stopped/);
  });
});
