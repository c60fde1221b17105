import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  add,
  attention,
  BackendError,
  cpuBackend,
  crossEntropy,
  DTypeError,
  full,
  gatherRows,
  matmul,
  reshape,
  ShapeError,
  Tensor,
  tensor,
  zeros,
} from '../../../src/tensor/index.ts';

const backend = cpuBackend();
const on = { backend };

test('tensors come from nested arrays, typed arrays and numbers', () => {
  const nested = tensor(
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    undefined,
    on,
  );
  assert.deepEqual([nested.shape, nested.dtype, nested.numel, nested.rank], [[2, 3], 'f32', 6, 2]);
  assert.deepEqual([...nested.toArray()], [1, 2, 3, 4, 5, 6]);
  const typed = tensor(new Uint8Array([1, 2]), undefined, on);
  assert.deepEqual([typed.shape, typed.dtype], [[2], 'u8']);
  assert.equal(tensor(7, undefined, on).item(), 7);
  assert.deepEqual(tensor([], undefined, on).shape, [0]);
  const converted = tensor([1, 2], [2, 1], { dtype: 'i32', backend });
  assert.deepEqual(converted.toArray(), new Int32Array([1, 2]));
});

test('ragged or short data is refused', () => {
  for (const values of [
    [[1, 2], [3]],
    [[1, 2], [3], [4, 5, 6]],
    [[[1]], [[2, 3]]],
  ]) {
    assert.throws(() => tensor(values, undefined, on), ShapeError);
  }
  assert.throws(() => tensor([1, 2, 3], [2, 2], on), ShapeError);
  assert.throws(() => Tensor.empty([2, -1], 'f32', backend), ShapeError);
  assert.throws(() => Tensor.empty([1.5], 'f32', backend), ShapeError);
});

test('what is read is a copy', () => {
  const x = tensor([1, 2], undefined, on);
  x.toArray()[0] = 9;
  assert.deepEqual([...x.toFloat32()], [1, 2]);
  x.write(new Float32Array([5]), 1);
  assert.deepEqual([...x.toFloat32()], [1, 5]);
  assert.throws(() => x.write(new Float32Array(2), 1), ShapeError);
  assert.throws(() => x.write(new Int32Array(2)), DTypeError);
  assert.throws(() => x.item(), ShapeError);
  assert.throws(() => tensor(new Int8Array(1), undefined, on).toFloat32(), DTypeError);
});

test('an alias keeps the memory until the last of both is gone', () => {
  const before = backend.memory();
  const x = full([2, 3], 1, backend);
  const y = reshape(x, [6]);
  x.dispose();
  x.dispose();
  assert.deepEqual([...y.toFloat32()], [1, 1, 1, 1, 1, 1]);
  assert.equal(backend.memory().bytes, before.bytes + 24);
  y.dispose();
  assert.deepEqual(
    [backend.memory().bytes, backend.memory().allocations],
    [before.bytes, before.allocations],
  );
  assert.ok(backend.memory().peakBytes >= before.bytes + 24);
  assert.throws(() => full([2, 3], 1, backend).aliasAs([5]), ShapeError);
});

test('use after dispose is a typed error that names the operation', () => {
  const x = zeros([2, 3], backend);
  x.dispose();
  assert.ok(x.disposed);
  assert.throws(() => x.toArray(), { name: 'DisposedError', code: 'E_DISPOSED' });
  for (const [name, use] of Object.entries({
    add: () => add(x, x),
    matmul: () => matmul(x, x),
    reshape: () => reshape(x, [6]),
  })) {
    assert.throws(use, {
      code: 'E_DISPOSED',
      message: `${name}: operand [2,3] f32 was disposed`,
    });
  }
});

test('a `using` declaration gives the memory back', () => {
  const { bytes } = backend.memory();
  {
    using x = zeros([8], backend);
    assert.equal(backend.memory().bytes, bytes + 4 * x.numel);
  }
  assert.equal(backend.memory().bytes, bytes);
});

test('operands must share backend and dtype', () => {
  const other = cpuBackend();
  assert.throws(() => add(zeros([1], backend), zeros([1], other)), BackendError);
  assert.throws(() => add(zeros([1], backend), tensor(new Int32Array(1), undefined, on)), {
    name: 'DTypeError',
    message: 'add: takes f32, got i32 [1]',
  });
});

test('shape errors name the operation and both operands', () => {
  const a = zeros([2, 3], backend);
  const b = zeros([4, 5], backend);
  assert.throws(() => matmul(a, b), {
    message: 'matmul: inner dimensions differ, lhs [2,3], rhs [4,5]',
  });
  assert.throws(() => matmul(a, b, { transA: true }), {
    message: 'matmul: inner dimensions differ, lhs [2,3] transposed, rhs [4,5]',
  });
});

test('indices outside their range never reach a kernel', () => {
  const table = zeros([3, 2], backend);
  const i32 = (...values: number[]) => tensor(Int32Array.from(values), undefined, on);
  assert.throws(() => gatherRows(table, i32(0, 3)), { message: /id 3 at 1 is outside 0\.\.2/ });
  assert.throws(() => gatherRows(table, i32(-1)), ShapeError);
  assert.throws(() => crossEntropy(table, i32(0, 1, 2)), { message: /target 2 at 2/ });
  assert.throws(() => crossEntropy(table, i32(0, -1, 0)), ShapeError);
  const qkv = zeros([3, 1, 2], backend);
  for (const bounds of [
    [0, 4],
    [0, 2],
    [1, 2],
    [0, -1],
  ]) {
    const segments = tensor(Int32Array.from(bounds), [1, 2], on);
    assert.throws(() => attention(qkv, qkv, qkv, { segments, causal: true }), ShapeError);
  }
});
