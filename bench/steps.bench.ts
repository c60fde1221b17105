// The int8 product from three plain loops to the project's kernel, one idea a step; each is explained at
// the head of its file in steps/. All compute the same sums, which are compared before they are timed.
import {
  BLOCK,
  installQuant,
  kernelVariant,
  linearQuantized,
  PANEL,
  packQc8w,
  ZERO_POINT,
} from '../src/quant/index.ts';
import { hasRelaxedSimd } from '../src/tensor/backends/wasm/features.ts';
import { scope, tensor, wasmBackend } from '../src/tensor/index.ts';
import type { BenchCase, Prepared } from './harness.ts';
import type { Arithmetic } from './peak.ts';
import { javascript } from './steps/1-javascript.ts';
import { compileSteps, OPERANDS, type Steps } from './steps/compile.ts';

const [M, K, N] = [128, 512, 512];

/** Activations in -127..127 and weights in 1..127, which stand for -63..63: fixed, no pattern of a tile. */
const x = Int8Array.from({ length: M * K }, (_, i) => ((i * 37 + (i >> 9) * 11) % 255) - 127);
const w = Uint8Array.from({ length: N * K }, (_, i) => ((i * 29 + (i >> 9) * 7) % 127) + 1);

/** w [N,K] as [N/8][K/4][8][4]. */
function packedWeights(): Uint8Array {
  const out = new Uint8Array(w.length);
  for (let j = 0; j < N; j++) {
    for (let i = 0; i < K; i++) {
      const panel = Math.floor(j / PANEL) * K * PANEL;
      out[panel + (i >> 2) * 4 * PANEL + (j % PANEL) * 4 + (i & 3)] = w[j * K + i];
    }
  }
  return out;
}

let expected: Int32Array | undefined;

/** Sums that all steps are held to, in f64, which is exact here. */
function reference(): Int32Array {
  expected ??= Int32Array.from({ length: M * N }, (_, at) => {
    const [row, j] = [Math.floor(at / N), at % N];
    let sum = 0;
    for (let i = 0; i < K; i++) sum += x[row * K + i] * w[j * K + i];
    return sum;
  });
  return expected;
}

function verify(name: string, got: ArrayLike<number>): void {
  const sums = reference();
  const wrong = sums.findIndex((sum, at) => got[at] !== sum);
  if (wrong >= 0) throw new Error(`${name}: [${wrong}] is ${got[wrong]} and not ${sums[wrong]}`);
}

function prepareJavaScript(name: string): Prepared {
  const out = new Int32Array(M * N);
  const run = () => {
    javascript(out, x, w, M, N, K);
    return out[0];
  };
  run();
  verify(name, out);
  return { run, dispose: () => {} };
}

async function prepareStep(name: string, step: Exclude<keyof Steps, 'memory'>): Promise<Prepared> {
  const steps = await compileSteps();
  const { buffer } = steps.memory;
  const inPanels = step === 'packed' || step === 'relaxed';
  const [xAt, wAt, outAt] = [OPERANDS, OPERANDS + M * K, OPERANDS + M * K + N * K];
  new Int8Array(buffer).set(x, xAt);
  new Uint8Array(buffer).set(inPanels ? packedWeights() : w, wAt);
  const out = new Int32Array(buffer, outAt, M * N);
  out.fill(0);
  const run = () => {
    steps[step](outAt, xAt, wAt, M, N, K);
    return out[0];
  };
  run();
  verify(name, out);
  return { run, dispose: () => {} };
}

/** The real kernel on the same numbers: scales of 1 make its f32 results the sums less 64 row sums. */
function prepareKernel(name: string): Prepared {
  const backend = wasmBackend();
  const weight = packQc8w(
    // Every row reaches -63 or 63, so that its scale is 1 and it is stored as it is.
    Float32Array.from({ length: N * K }, (_, i) => w[i] - ZERO_POINT),
    N,
    K,
    { backend },
  );
  const data = tensor(x, [M, K], { backend });
  const scales = tensor(new Float32Array(M).fill(1), [M, 1], { backend });
  const blocks = K / BLOCK;
  const sums = tensor(
    Int32Array.from({ length: M * blocks }, (_, at) =>
      x.subarray(at * BLOCK, (at + 1) * BLOCK).reduce((sum, value) => sum + value, 0),
    ),
    [M, blocks],
    { backend },
  );
  const rows = {
    kind: 'quantizedRows',
    rows: M,
    inner: K,
    groupSize: K,
    data,
    scales,
    sums,
  } as const;
  const result = scope(() => linearQuantized(rows, weight).toFloat32());
  const rowSums = Array.from({ length: M }, (_, row) =>
    x.subarray(row * K, (row + 1) * K).reduce((sum, value) => sum + value, 0),
  );
  verify(
    name,
    result.map((value, at) => value + ZERO_POINT * rowSums[Math.floor(at / N)]),
  );
  return {
    run: () => scope(() => backend.read(linearQuantized(rows, weight).handle, 'f32', 1)[0]),
    dispose() {
      weight.dispose();
      for (const one of [data, scales, sums]) one.dispose();
    },
  };
}

/** Every step in order. */
export function* cases(): Generator<BenchCase> {
  const of = (
    step: string,
    variant: string,
    arithmetic: Arithmetic | null,
    prepare: (name: string) => Prepared | Promise<Prepared>,
  ): BenchCase => {
    const name = `steps/${step}/${M}x${K}x${N}`;
    const [ops, bytes] = [2 * M * N * K, M * K + N * K + 4 * M * N];
    return { name, variant, ops, bytes, arithmetic, prepare: () => prepare(name) };
  };
  yield of('1-javascript', 'JavaScript', null, prepareJavaScript);
  yield of('2-scalar', 'AssemblyScript', null, (name) => prepareStep(name, 'scalar'));
  for (const [step, kernel] of [
    ['3-simd', 'simd'],
    ['4-tiled', 'tiled'],
    ['5-packed', 'packed'],
  ] as const) {
    yield of(step, 'AssemblyScript simd128', 'i16 dot', (name) => prepareStep(name, kernel));
  }
  if (hasRelaxedSimd()) {
    const relaxed = (name: string) => prepareStep(name, 'relaxed');
    yield of('6-relaxed', 'AssemblyScript relaxed (i16 dot)', 'relaxed i16 dot', relaxed);
  }
  const backend = wasmBackend();
  const { dot } = installQuant(backend);
  const arithmetic = dot === null ? 'i16 dot' : (`relaxed ${dot} dot` as const);
  yield of('7-kernel', kernelVariant(backend), arithmetic, prepareKernel);
}
