import type { Backend, Handle } from '../tensor/backend.ts';
import { dtypeOf, type TypedArray } from '../tensor/dtype.ts';
import { type GemmKernel, type QuantKernels, scratchBytes } from './kernels/table.ts';
import { qb4wScaleLayout } from './qb4w-scales.ts';

/** Five rows take both the four-row and the one-row path; nine columns leave a panel unfinished. */
const M = 5;
const N = 9;
const KP = 64;
const GROUP = 32;

/** Operands at their extremes, where engines' relaxed dots part: +-127 against 127, and a mix. */
function operands() {
  const data = new Int8Array(M * KP).map((_, i) =>
    i < KP ? 127 : i < 2 * KP ? -127 : ((i * 37) % 255) - 127,
  );
  const sums = new Int32Array((M * KP) / 32);
  data.forEach((value, i) => {
    sums[i >> 5] += value;
  });
  const bytes = new Uint8Array(16 * KP).map((_, i) => (i % 3 === 0 ? 127 : 1 + ((i * 29) % 127)));
  return { data, sums, bytes };
}

/** Runs one gemm with operands copied into `backend`; everything is freed again. */
function runOn(
  backend: Backend,
  gemm: GemmKernel,
  operand: readonly (TypedArray | null)[],
): Float32Array {
  const taken: { handle: Handle; array: TypedArray }[] = [];
  const put = (array: TypedArray | null): Handle => {
    if (!array) return backend.nil;
    const handle = backend.alloc(dtypeOf(array), array.length);
    taken.push({ handle, array });
    backend.write(handle, dtypeOf(array), array);
    return handle;
  };
  try {
    const out = put(new Float32Array(M * N));
    const [data, actScales, sums, packed, scales] = operand.map(put);
    const scratch = put(new Uint8Array(scratchBytes(M, KP)));
    const nil = backend.nil;
    gemm(out, data, actScales, sums, packed, scales, nil, nil, scratch, M, N, KP, KP, GROUP);
    return backend.read(out, 'f32', M * N) as Float32Array;
  } finally {
    for (const { handle, array } of taken) backend.free(handle, dtypeOf(array), array.length);
  }
}

function runScalar(gemm: GemmKernel, operand: readonly (TypedArray | null)[]): Float32Array {
  const out = new Float32Array(M * N);
  const [data, actScales, sums, packed, scales] = operand;
  gemm(out, data, actScales, sums, packed, scales, null, null, null, M, N, KP, KP, GROUP);
  return out;
}

/**
 * Whether both gemms of `kernels` agree with their scalar twins on this engine, to the bit:
 * the relaxed dot is allowed to differ between engines, and some had it wrong.
 */
export function selfTest(backend: Backend, kernels: QuantKernels, scalar: QuantKernels): boolean {
  const { data, sums, bytes } = operands();
  const actScales = new Float32Array(M).map((_, i) => 0.5 + i / 8);
  const scales = new Float32Array(16 * 2).map((_, i) => 1 / (i + 1));
  // Integers of every sign and size; D is then what two of the bytes happen to be, but finite.
  const layout = qb4wScaleLayout(KP, GROUP);
  const groups = new Uint8Array(2 * layout.bytes).map((_, i) => {
    const inSuperScale = i % layout.bytes < layout.scalesAt;
    return inSuperScale ? [0x80 + i, 0x3e][i & 1] : i * 53;
  });
  const qc8w = [data, actScales, sums, bytes, scales];
  const qb4w = [data, actScales, sums, bytes.subarray(0, 8 * KP), groups];
  const equal = (name: 'gemmQd8F32Qc8w' | 'gemmQd8F32Qb4w', operand: (TypedArray | null)[]) => {
    const expected = runScalar(scalar[name], operand);
    return runOn(backend, kernels[name], operand).every((value, i) => value === expected[i]);
  };
  return equal('gemmQd8F32Qc8w', qc8w) && equal('gemmQd8F32Qb4w', qb4w);
}
