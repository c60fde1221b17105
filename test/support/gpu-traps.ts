import assert from 'node:assert/strict';
import { cpuBackend } from '../../src/tensor/backends/cpu/index.ts';
import type { GpuBackend } from '../../src/tensor/backends/gpu/index.ts';
import { compile, mul, setBackend, type Tensor, tensor } from '../../src/tensor/index.ts';
import { furthest, trainSide } from './train-steps.ts';

/* Where gpu.js goes wrong without saying so; each runs in Node on webasm, in a page on a GPU. */

/** Something that has to hold on every mode. */
export interface Trap {
  readonly name: string;
  run(gpu: GpuBackend): Promise<void>;
}

type Handle = ReturnType<GpuBackend['alloc']>;

/** Memory for a test, given back at its end. */
function bench(gpu: GpuBackend) {
  const held: [Handle, 'f32' | 'i32', number][] = [];
  const alloc = (numel: number, dtype: 'f32' | 'i32' = 'f32') => {
    const handle = gpu.alloc(dtype, numel);
    held.push([handle, dtype, numel]);
    return handle;
  };
  return {
    alloc,
    place(data: Float32Array | Int32Array) {
      const dtype = data instanceof Int32Array ? 'i32' : 'f32';
      const handle = alloc(data.length, dtype);
      gpu.write(handle, dtype, data);
      return handle;
    },
    free() {
      for (const one of held) gpu.free(...one);
    },
  };
}

/** gpu.js ends a loop whose bound is a variable after 1,000 turns, silently. */
const LENGTHS = [999, 1000, 1001, 1024, 1025, 2500];

/** Ones sum up to whole numbers, exactly in any order; the trap leaves 1,000. */
async function loops(gpu: GpuBackend): Promise<void> {
  const { kernels } = gpu;
  for (const n of LENGTHS) {
    const { alloc, place, free } = bench(gpu);
    const ones = place(new Float32Array(2 * n).fill(1));
    const rising = place(Float32Array.from({ length: n }, (_, i) => i));
    const zeros = place(new Int32Array(n));
    const [product, total, top, at, added, probs] = [6, 1, 1, 1, 2, n].map((size) => alloc(size));
    kernels.matmul(product, ones, place(new Float32Array(3 * n).fill(1)), 1, 2, 3, n, 0, 0, 0, 0);
    kernels.sum(total, ones, 1, n, 1);
    kernels.max(top, rising, 1, n, 1);
    kernels.argmax(at, rising, 1, n, 1);
    kernels.fill(added, 2, 0);
    kernels.scatterAddRows(added, ones, zeros, n, 1);
    kernels.softmax(probs, ones, 1, n);
    assert.deepEqual(await gpu.readAsync(product, 6), new Float32Array(6).fill(n));
    assert.deepEqual(await gpu.readAsync(total, 1), Float32Array.of(n), `sum of ${n}`);
    assert.deepEqual(await gpu.readAsync(top, 1), Float32Array.of(n - 1), `max of ${n}`);
    assert.deepEqual(await gpu.readAsync(at, 1), Float32Array.of(n - 1), `argmax of ${n}`);
    assert.deepEqual(await gpu.readAsync(added, 2), Float32Array.of(n, 0), `scatter of ${n}`);
    const [first] = await gpu.readAsync(probs, 1);
    assert.ok(Math.abs(first * n - 1) < 1e-5, `softmax over ${n}: ${first}`);
    free();
  }
}

/** A thread that has much to do may be given up, and zeros come back; ours are cut into tiles. */
async function longKernels(gpu: GpuBackend): Promise<void> {
  const { alloc, place, free } = bench(gpu);
  const [m, n, k] = [4, 5, 60_000];
  const out = alloc(m * n);
  const a = place(new Float32Array(m * k).fill(0.5));
  const b = place(new Float32Array(k * n).fill(2));
  gpu.kernels.matmul(out, a, b, 1, m, n, k, 0, 0, 0, 0);
  assert.deepEqual(await gpu.readAsync(out, m * n), new Float32Array(m * n).fill(k));
  free();
}

/** More elements than a texture is wide, and more than f32 can count. */
async function largeTensors(gpu: GpuBackend): Promise<void> {
  const { alloc, place, free } = bench(gpu);
  const n = 1_100_003; // a prime or nearly so: no texture has this area
  const x = place(Float32Array.from({ length: n }, (_, i) => i % 1024));
  const [y, total] = [alloc(n), alloc(1)];
  gpu.kernels.affine(y, x, n, 2, 1);
  gpu.kernels.sum(total, x, 1, n, 1);
  const got = await gpu.readAsync(y, n);
  for (const i of [0, 16_383, 16_384, 65_536, 999_999, n - 1]) {
    assert.equal(got[i], 2 * (i % 1024) + 1, `element ${i}`);
  }
  const cpu = cpuBackend();
  const exact = new Float32Array(1);
  cpu.kernels.sum(
    exact,
    got.map((value) => (value - 1) / 2),
    1,
    n,
    1,
  );
  const [sum] = await gpu.readAsync(total, 1);
  assert.ok(Math.abs(sum / exact[0] - 1) < 1e-6, `sum ${sum}, expected ${exact[0]}`);
  free();
  let refused = '';
  try {
    gpu.alloc('f32', 2 ** 24 + 1);
  } catch (error) {
    refused = (error as { code: string }).code;
  }
  assert.equal(refused, 'E_BACKEND');
}

/** Whole numbers are kept in f32, which not all fit in. */
async function largeIntegers(gpu: GpuBackend): Promise<void> {
  const { place, free } = bench(gpu);
  const good = Int32Array.of(2 ** 24, -(2 ** 24), -100, 16_777_215);
  assert.deepEqual(await gpu.readAsync(place(good), 4), good);
  let refused = '';
  try {
    place(Int32Array.of(2 ** 24 + 1));
  } catch (error) {
    refused = (error as { code: string }).code;
  }
  assert.equal(refused, 'E_BACKEND');
  free();
}

/** Kernels and textures of gpu.js live until they are destroyed. */
async function leaks(gpu: GpuBackend): Promise<void> {
  const bytes = gpu.memory().bytes;
  const seen: string[] = [];
  for (let round = 0; round < 4; round++) {
    for (let step = 0; step < 50; step++) {
      const { alloc, place, free } = bench(gpu);
      const x = place(Float32Array.of(1, 2, 3, step));
      const [y, z] = [alloc(4), alloc(1)];
      gpu.kernels.add(y, x, x, 1, 1, 1, 4, 0, 0, 0, 1, 0, 0, 0, 1);
      gpu.kernels.sum(z, y, 1, 4, 1);
      if (step % 10 === 0) assert.equal((await gpu.readAsync(z, 1))[0], 12 + 2 * step);
      free();
    }
    seen.push(JSON.stringify(gpu.resources()));
  }
  assert.equal(new Set(seen).size, 1, `held: ${seen.join(' ')}`);
  assert.equal(gpu.resources().onDevice, 0);
  assert.equal(gpu.memory().bytes, bytes);
}

/** A kernel that is destroyed takes vertices with it that others draw from. */
async function destroyed(gpu: GpuBackend): Promise<void> {
  setBackend(gpu);
  const { alloc, place, free } = bench(gpu);
  const total = alloc(1);
  const sumOf = async (...values: number[]) => {
    gpu.kernels.sum(total, place(Float32Array.from(values)), 1, values.length, 1);
    return (await gpu.readAsync(total, 1))[0];
  };
  assert.equal(await sumOf(1, 2), 3);
  const squared = compile((x: Tensor) => mul(x, x), gpu);
  const x = tensor([3, 4, 5]);
  const y = await squared(x);
  await squared.destroy();
  assert.equal(await sumOf(5, 6), 11, 'a kernel gave its last result again');
  assert.deepEqual(await gpu.readAsync(y.handle, 3), Float32Array.of(9, 16, 25));
  x.dispose();
  y.dispose();
  free();
}

/** Nine steps; a GPU's exponentials are right to 1e-6, and AdamW makes a step of any rounding. */
const TRAINED = 1e-4;

/** One plan for whole train steps, or none where a mode has none; which executor ran is what it promises. */
async function trainSteps(gpu: GpuBackend): Promise<void> {
  const executors = {
    webasm: 'fused-sync',
    webgpu: 'fused-encoder',
    webgl2: 'kernels',
    headlessgl: 'kernels',
    cpu: 'generic',
  };
  const expected = await trainSide(cpuBackend(), { calls: 3 });
  const got = await trainSide(gpu, { calls: 3 });
  assert.equal(got.executor, executors[gpu.mode], `${got.executor}: ${got.fallbackReason}`);
  const fused = got.executor.startsWith('fused');
  assert.equal(got.fallbackReason === null, fused, `${got.fallbackReason}`);
  assert.equal(got.plans, got.executor === 'kernels' ? 0 : 1);
  const off = Math.max(furthest(got.steps, expected.steps), furthest(got.params, expected.params));
  assert.ok(off < TRAINED, `off by ${off}`);
}

/** Sync reads on a mode that answers later say so, and `readAsync` makes them possible. */
async function reading(gpu: GpuBackend): Promise<void> {
  setBackend(gpu);
  const x = tensor([1, 2]);
  const { alloc, free } = bench(gpu);
  const y = alloc(2);
  gpu.kernels.neg(y, x.handle, 2);
  let refused = '';
  try {
    gpu.read(y, 'f32', 2);
  } catch (error) {
    refused = (error as { code: string }).code;
  }
  assert.equal(refused, gpu.mode === 'webgpu' ? 'E_BACKEND' : '');
  assert.deepEqual(await gpu.readAsync(y, 2), Float32Array.of(-1, -2));
  assert.deepEqual(gpu.read(y, 'f32', 2), Float32Array.of(-1, -2));
  x.dispose();
  free();
}

export const TRAPS: readonly Trap[] = [
  { name: 'loops of more than 1,000 turns', run: loops },
  { name: 'long kernels do not come back as zeros', run: longKernels },
  { name: 'tensors beyond the width of a texture, and beyond f32', run: largeTensors },
  { name: 'integers beyond f32 are refused', run: largeIntegers },
  { name: 'kernels, textures and bytes stay flat', run: leaks },
  { name: 'kernels go on when others are destroyed', run: destroyed },
  { name: 'whole train steps in one plan', run: trainSteps },
  { name: 'reading at once, and later', run: reading },
];
