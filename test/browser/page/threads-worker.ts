import {
  installQuant,
  linearQuantized,
  packQb4w,
  packQc8w,
  quantizeRows,
} from '../../../src/quant/index.ts';
import {
  attention,
  matmul,
  rmsNorm,
  scope,
  silu,
  type Tensor,
  tensor,
  type WasmBackend,
  wasmBackend,
} from '../../../src/tensor/index.ts';
import { spawnKernelThread } from '../../../src/threads/browser.ts';

/* The worker of threads.ts: kernels of both modules in one thread and in three. */

const values = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.sin((i + 1) * (seed + 0.7)));

/** What is computed on a backend. */
const WORK: Record<string, (on: (seed: number, ...shape: number[]) => Tensor) => Tensor> = {
  'int8 rows': (on) => integer(on, 'int8', 67),
  'int8 row': (on) => integer(on, 'int8', 1),
  'int4 rows': (on) => integer(on, 'int4', 67),
  matmul: (on) => matmul(on(1, 67, 300), on(2, 300, 130)),
  attention: (on) => {
    const q = on(1, 150, 4, 32);
    const segments = tensor(Int32Array.of(0, 100, 100, 50), [2, 2], { backend: q.backend });
    return attention(q, on(2, 150, 2, 32), on(3, 150, 2, 32), { segments, causal: true });
  },
  rmsNorm: (on) => rmsNorm(on(1, 200, 576), on(2, 576), 1e-5),
  silu: (on) => silu(on(1, 200, 1536)),
};

function integer(
  on: (seed: number, ...shape: number[]) => Tensor,
  precision: 'int8' | 'int4',
  rows: number,
): Tensor {
  const [n, k] = [1001, 320];
  const x = on(1, rows, k);
  const { backend } = x;
  const weights = values(n * k, 2);
  using packed =
    precision === 'int8'
      ? packQc8w(weights, n, k, { backend })
      : packQb4w(weights, n, k, { backend, groupSize: 32 });
  return linearQuantized(quantizeRows(x), packed);
}

function compute(backend: WasmBackend, name: string): Float32Array {
  const on = (seed: number, ...shape: number[]) =>
    tensor(
      values(
        shape.reduce((a, b) => a * b),
        seed,
      ),
      shape,
      { backend },
    );
  return scope(() => WORK[name](on).toFloat32());
}

const one = wasmBackend();
const many = wasmBackend({ threads: 3, spawn: spawnKernelThread, pool: { share: 'always' } });
await many.ready;
for (const backend of [one, many]) installQuant(backend);
postMessage({ kind: 'opened', description: many.description });
for (const name of Object.keys(WORK)) {
  const expected = compute(one, name);
  let equal = true;
  // Until another thread has had a turn, and three times at the least.
  const before = many.pool?.helped ?? 0;
  for (let times = 0; times < 3 || (many.pool?.helped === before && times < 1000); times++) {
    const got = compute(many, name);
    equal &&= got.length === expected.length && got.every((x, i) => Object.is(x, expected[i]));
  }
  postMessage({ kind: 'computed', name, equal, helped: (many.pool?.helped ?? 0) - before });
}
await many.dispose();
postMessage({ kind: 'done', left: many.memory().bytes });
