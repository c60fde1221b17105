import type { Kernels } from '../../../src/tensor/backend.ts';
import type { TypedArray } from '../../../src/tensor/dtype.ts';
import type { Call, Tolerance } from '../../property/kernels/case.ts';

/*
 * What WGSL (section "Floating point accuracy") and GLSL ES 3.00 (section 4.5.1) allow a GPU beyond
 * what the cases allow every backend.
 */

/** The smallest normal number: below it a GPU may take, and give, 0. */
const SMALLEST_NORMAL = 2 ** -126;

/** A unit in the last place of f32. */
const ULP = 2 ** -23;

/** e^x is within 3 + 2 |x| units. */
const expUpTo = (x: number): Tolerance => ({ absolute: 0, relative: (3 + 2 * x) * ULP });

/** Division within 2.5 units; a square root is one over an inverse square root within 2. */
const DIVISION: Tolerance = { absolute: 0, relative: 2.5 * ULP };
const ROOT: Tolerance = { absolute: 0, relative: 4.5 * ULP };

const ALLOWED: Partial<Record<keyof Kernels, Tolerance>> = {
  exp: expUpTo(105),
  // Within 2^-21 between 1/2 and 2, 3 units elsewhere.
  log: { absolute: 2 ** -21, relative: 3 * ULP },
  sqrt: ROOT,
  reciprocal: DIVISION,
  div: DIVISION,
  sigmoid: expUpTo(30),
  silu: expUpTo(30),
  tanh: expUpTo(8),
  siluMul: expUpTo(9),
  siluGrad: expUpTo(9),
};

function withoutSubnormals(values: TypedArray | null): TypedArray | null {
  if (!(values instanceof Float32Array)) return values;
  return values.map((value) => (Math.abs(value) < SMALLEST_NORMAL ? 0 : value));
}

/** The call with operands that mean the same on a GPU, and with its accuracy. */
export function onGpu(name: keyof Kernels, call: Call): Call {
  const { absolute, relative } = ALLOWED[name] ?? { absolute: 0, relative: 0 };
  return {
    ...call,
    inputs: call.inputs.map(withoutSubnormals),
    tolerance: {
      absolute: call.tolerance.absolute + absolute + SMALLEST_NORMAL,
      relative: call.tolerance.relative + relative,
    },
  };
}
