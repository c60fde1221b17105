import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { hasRelaxedSimd, hasSimd128 } from '../../../src/tensor/backends/wasm/features.ts';
import { wasmBackend } from '../../../src/tensor/backends/wasm/index.ts';
import { HEAP_BASE } from '../../../src/tensor/backends/wasm/memory.ts';
import {
  adamw,
  BackendError,
  full,
  gelu,
  matmul,
  mean,
  mul,
  scope,
  setBackend,
  sub,
  type Tensor,
  tensor,
  valueAndGrad,
} from '../../../src/tensor/index.ts';

const MIB = 2 ** 20;

describe('wasm memory', () => {
  test('addresses are 64-byte aligned and above what kernels keep for themselves', () => {
    const backend = wasmBackend();
    for (const numel of [0, 1, 17, 100_000]) {
      const handle = backend.alloc('f32', numel);
      assert.equal(handle % 64, 0);
      assert.ok(handle >= HEAP_BASE);
    }
  });

  test('growth keeps contents, and views made afterwards see them', () => {
    const backend = wasmBackend({ initialBytes: 65536 });
    const data = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i));
    const handle = backend.alloc('f32', data.length);
    backend.write(handle, 'f32', data);
    const before = backend.linearMemory.buffer;
    const far = backend.alloc('f32', MIB);
    assert.notEqual(backend.linearMemory.buffer, before);
    backend.kernels.fill(far, MIB, 3);
    assert.deepEqual(backend.read(handle, 'f32', data.length), data);
    assert.deepEqual(backend.view(handle, 'f32', data.length), data);
    assert.equal(backend.read(far, 'f32', 1, MIB - 1)[0], 3);
  });

  test('a large piece does not double memory', () => {
    const backend = wasmBackend();
    backend.alloc('u8', 200 * MIB);
    backend.alloc('u8', 300 * MIB);
    assert.ok(backend.linearMemory.buffer.byteLength < 502 * MIB);
  });

  test('small pieces do not grow it one page at a time', () => {
    const backend = wasmBackend({ initialBytes: 0 });
    let growths = 0;
    let buffer = backend.linearMemory.buffer;
    for (let i = 0; i < 256; i++) {
      backend.alloc('u8', 65536);
      if (backend.linearMemory.buffer !== buffer) growths++;
      buffer = backend.linearMemory.buffer;
    }
    assert.ok(growths < 10, `${growths} growths for 16 MiB`);
  });

  test('out of memory is a BackendError that says how much, and others live on', () => {
    const backend = wasmBackend({ maximumBytes: 4 * MIB });
    const handle = backend.alloc('f32', 1000);
    backend.kernels.fill(handle, 1000, 2);
    assert.throws(() => backend.alloc('u8', 8 * MIB), {
      name: 'BackendError',
      code: 'E_BACKEND',
      message: /^alloc: out of memory, \d+ bytes needed, wasm memory has \d+ and at most 4194304$/,
    });
    // All of the four mebibytes can be had, down to the last page.
    backend.alloc('u8', 4 * MIB - HEAP_BASE - 65536);
    assert.equal(backend.read(handle, 'f32', 1, 999)[0], 2);
    assert.equal(backend.memory().allocations, 2);
  });

  test('a limit below what kernels need is refused', () => {
    assert.throws(() => wasmBackend({ maximumBytes: 65536 }), BackendError);
  });

  test('counts bytes, their peak and pieces', () => {
    const backend = wasmBackend();
    const a = backend.alloc('f32', 100);
    const b = backend.alloc('i8', 7);
    assert.deepEqual(backend.memory(), { bytes: 407, peakBytes: 407, allocations: 2 });
    backend.free(a, 'f32', 100);
    assert.deepEqual(backend.memory(), { bytes: 7, peakBytes: 407, allocations: 1 });
    backend.free(b, 'i8', 7);
    assert.throws(() => backend.free(b, 'i8', 7), BackendError);
  });

  test('reads and writes at an offset, in every dtype', () => {
    const backend = wasmBackend();
    for (const [dtype, data] of [
      ['f32', Float32Array.of(1.5, -2)],
      ['i32', Int32Array.of(-7, 2 ** 31 - 1)],
      ['i8', Int8Array.of(-128, 127)],
      ['u8', Uint8Array.of(0, 255)],
      ['u16', Uint16Array.of(65535, 1)],
    ] as const) {
      const handle = backend.alloc(dtype, 5);
      backend.write(handle, dtype, data, 3);
      assert.deepEqual(backend.read(handle, dtype, 2, 3), data);
    }
  });
});

describe('wasm variants', () => {
  test('simd128 runs wherever the backend runs, and says so', () => {
    assert.equal(hasSimd128(), true);
    const backend = wasmBackend({ variant: 'simd128' });
    assert.equal(backend.variant, 'simd128');
    assert.equal(backend.description, 'wasm (simd128)');
  });

  test('relaxed is taken where the engine has it, refused elsewhere', () => {
    if (hasRelaxedSimd()) {
      assert.equal(wasmBackend({ variant: 'relaxed' }).description, 'wasm (relaxed)');
      assert.equal(wasmBackend().variant, 'relaxed');
    } else {
      assert.throws(() => wasmBackend({ variant: 'relaxed' }), BackendError);
      assert.equal(wasmBackend().variant, 'simd128');
    }
  });

  test('two backends are strangers', () => {
    const [a, b] = [wasmBackend(), wasmBackend()];
    const x = tensor([1, 2], [2], { backend: a });
    const y = tensor([1, 2], [2], { backend: b });
    assert.throws(() => sub(x, y), BackendError);
  });
});

test('live bytes stay flat over 1,000 training steps', () => {
  const backend = wasmBackend();
  setBackend(backend);
  const data = Float32Array.from({ length: 35 }, (_, i) => Math.sin(i));
  const x = tensor(data, [5, 7]);
  const target = full([5, 3], 0.5);
  const scale = full([1], 1);
  let state = {
    p: tensor(data.subarray(0, 21), [7, 3]),
    m: full([7, 3], 0),
    v: full([7, 3], 0),
  };
  const step = valueAndGrad(({ w }: { w: Tensor }) => {
    const error = sub(gelu(matmul(x, w)), target);
    return mean(mul(error, error));
  });
  let flat = 0;
  let first = 0;
  let last = 0;
  for (let i = 1; i <= 1000; i++) {
    const before = state;
    state = scope(() => {
      const { value, grads } = step({ w: before.p });
      last = value.item();
      return adamw(before.p, before.m, before.v, grads.w, scale, {
        learningRate: 0.01,
        step: i,
      });
    });
    for (const old of Object.values(before)) old.dispose();
    const { bytes, allocations } = backend.memory();
    if (i === 1) {
      flat = bytes;
      first = last;
    }
    assert.equal(bytes, flat);
    assert.equal(allocations, 6);
  }
  assert.ok(last < first / 2, `loss went from ${first} to ${last}`);
});
