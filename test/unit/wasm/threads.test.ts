import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { spawnWorker } from '../../../src/platform/node.ts';
import { MOST_THREADS, type WasmBackend, wasmBackend } from '../../../src/tensor/index.ts';
import { spawnKernelThread } from '../../../src/threads/node.ts';
import { threadedBackend } from '../../support/threads.ts';

const N = 4096;

/** exp of 0..N-1 over N, on a backend. */
function expOn(backend: WasmBackend, n = N): Float32Array {
  const x = backend.alloc('f32', n);
  const out = backend.alloc('f32', n);
  backend.write(
    x,
    'f32',
    Float32Array.from({ length: n }, (_, i) => i / n),
  );
  backend.kernels.exp(out, x, n);
  const y = backend.read(out, 'f32', n) as Float32Array;
  backend.free(x, 'f32', n);
  backend.free(out, 'f32', n);
  return y;
}

const expected = expOn(wasmBackend());

test('several threads are told; one is what it was', async () => {
  const backend = await threadedBackend(3);
  assert.equal(backend.threads, 3);
  assert.match(backend.description, /^wasm \((relaxed|simd128), 3 threads\)$/);
  assert.equal(backend.fallbackReason, null);
  const one = wasmBackend({ threads: 1 });
  assert.match(one.description, /^wasm \((relaxed|simd128)\)$/);
  assert.equal(one.pool, null);
  assert.ok(one.linearMemory.buffer instanceof ArrayBuffer);
  await one.ready;
  await one.dispose();
});

test('the other threads do a part of the work', async () => {
  const backend = await threadedBackend(2);
  // However busy the machine is, at some time the thread gets a turn.
  while (backend.pool?.helped === 0) assert.deepEqual(expOn(backend), expected);
});

test('kernels run before any thread has come up', () => {
  const backend = wasmBackend({
    threads: 4,
    spawn: spawnKernelThread,
    pool: { share: 'always' },
  });
  assert.deepEqual(expOn(backend), expected);
});

test('memory that grows while threads wait is theirs, too', async () => {
  const backend = await threadedBackend(3, { initialBytes: 0 });
  for (let n = N; n <= 2 ** 20; n *= 4) {
    const y = expOn(backend, n);
    assert.deepEqual([y[0], y.length], [1, n]);
    assert.ok(Math.abs(y[n - 1] - Math.E) < 1e-2);
    // Reads are copies outside of the shared memory: they can be sent and digested.
    assert.ok(y.buffer instanceof ArrayBuffer);
  }
});

test('a number of threads that cannot be, and threads without a way to start them, are refused', () => {
  for (const threads of [0, -1, 1.5, Number.NaN, MOST_THREADS + 1]) {
    const make = () => wasmBackend({ threads, spawn: spawnKernelThread });
    assert.throws(make, { code: 'E_BACKEND', message: /threads, where 1 to 64 can be/ });
  }
  assert.throws(() => wasmBackend({ threads: 2 }), { code: 'E_BACKEND', message: /spawn/ });
});

test('without SharedArrayBuffer there is one thread, and it says so', () => {
  const shared = globalThis.SharedArrayBuffer;
  try {
    // What a page without COOP and COEP looks like.
    Object.assign(globalThis, { SharedArrayBuffer: undefined });
    const backend = wasmBackend({ threads: 2, spawn: spawnKernelThread });
    assert.equal(backend.threads, 1);
    assert.match(backend.fallbackReason ?? '', /no SharedArrayBuffer here/);
    assert.match(backend.description, /, 1 thread: no SharedArrayBuffer here \(a page needs/);
    assert.deepEqual(expOn(backend), expected);
  } finally {
    Object.assign(globalThis, { SharedArrayBuffer: shared });
  }
});

test('a backend that was disposed of computes no more', async () => {
  const backend = await threadedBackend(2);
  await backend.dispose();
  assert.throws(() => expOn(backend), { code: 'E_BACKEND', message: /were ended/ });
  await backend.dispose();
});

test('a thread that ends unasked is an error of the next kernel', async () => {
  const ended: Promise<unknown>[] = [];
  const backend = await threadedBackend(2, {
    spawn: () => {
      const thread = spawnWorker(new URL('./workers/leaver.ts', import.meta.url));
      ended.push(new Promise((resolve) => thread.onError(resolve)));
      return thread;
    },
  });
  assert.deepEqual(expOn(backend), expected);
  await Promise.all(ended);
  assert.throws(() => expOn(backend), { code: 'E_BACKEND', message: /a thread of kernels died/ });
  await backend.dispose();
});

test('a thread that cannot start fails `ready`', async () => {
  const backend = wasmBackend({
    threads: 2,
    spawn: () => spawnWorker(new URL('./workers/missing.ts', import.meta.url)),
  });
  await assert.rejects(backend.ready, { code: 'E_BACKEND', message: /a thread of kernels died/ });
});

test('a thread that dies over its part is an error, and nobody waits for it for ever', async () => {
  const backend = await threadedBackend(2, {
    spawn: () => spawnWorker(new URL('./workers/taker.ts', import.meta.url)),
    pool: { share: 'always', patienceMs: 200 },
  });
  const all = () => {
    for (let i = 0; i < 1e6; i++) expOn(backend);
  };
  assert.throws(all, { code: 'E_BACKEND', message: /has not answered for 0.2 s/ });
  assert.throws(() => expOn(backend), { code: 'E_BACKEND' });
  await backend.dispose();
});

test('a kernel that fails is an error, wherever it ran', async () => {
  const backend = await threadedBackend(2);
  // An address beyond all memory: the engine traps.
  assert.throws(() => backend.kernels.exp(2 ** 32 - 4096, 2 ** 32 - 8192, 2 ** 20), {
    code: 'E_BACKEND',
    message: /a kernel failed/,
  });
  await backend.dispose();
});

test('a process whose threads wait ends by itself, and so does one whose threads are at work', () => {
  const script = (then: string) => `
    import { wasmBackend } from '${new URL('../../../src/tensor/index.ts', import.meta.url)}';
    import { spawnKernelThread } from '${new URL('../../../src/threads/node.ts', import.meta.url)}';
    const backend = wasmBackend({ threads: 3, spawn: spawnKernelThread, pool: { share: 'always' } });
    await backend.ready;
    const x = backend.alloc('f32', 65536);
    for (let i = 0; i < 50; i++) backend.kernels.exp(x, x, 65536);
    ${then}`;
  for (const then of ['', 'process.exit(0);']) {
    const args = ['-e', script(then)];
    const { status, signal, stderr } = spawnSync(process.execPath, args, {
      timeout: 60_000,
      encoding: 'utf8',
    });
    assert.deepEqual([status, signal, stderr], [0, null, '']);
  }
});
