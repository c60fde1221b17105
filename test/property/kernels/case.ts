import assert from 'node:assert/strict';
import type fc from 'fast-check';
import type { Backend, Handle, Kernels } from '../../../src/tensor/backend.ts';
import { type DType, dtypeOf, newTypedArray, type TypedArray } from '../../../src/tensor/dtype.ts';

/** `|got - expected| <= absolute + relative * |expected|`. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** The backends have to agree to the bit: moves, comparisons, single IEEE operations. */
export const EXACT: Tolerance = { absolute: 0, relative: 0 };

/** Unit roundoff of f32. */
export const EPSILON = 2 ** -24;

/** One call of a kernel on every backend alike. */
export interface Call {
  /** null stands for an operand that is not there. */
  readonly inputs: readonly (TypedArray | null)[];
  readonly outputs: readonly Output[];
  /** Calls the kernel. */
  run(kernels: Kernels, outs: readonly Handle[], ins: readonly Handle[]): void;
  readonly tolerance: Tolerance;
}

/** What a kernel writes. */
export interface Output {
  readonly numel: number;
  readonly dtype?: DType;
  /** What lies there before the call, where that matters. */
  readonly initial?: TypedArray;
  /** Index of the input whose memory it shares. */
  readonly alias?: number;
}

/** How to call a kernel in many ways: parameters that fast-check shrinks and prints, and the call. */
export interface KernelCase<P = never> {
  readonly params: fc.Arbitrary<P>;
  call(params: P): Call;
}

/** Ties `call` to its parameters' type. */
export function kernelCase<P>(params: fc.Arbitrary<P>, call: (params: P) => Call): KernelCase {
  return { params, call } as unknown as KernelCase;
}

/** Elements behind every output that a kernel must leave alone. */
const GUARD = 19;

/** Runs a call on a backend and returns its outputs; checks that nothing else was written. */
export function perform(call: Call, backend: Backend): TypedArray[] {
  const { kernels } = backend;
  const held: [Handle, DType, number][] = [];
  const place = (data: TypedArray): Handle => {
    const dtype = dtypeOf(data);
    const handle = backend.alloc(dtype, data.length);
    held.push([handle, dtype, data.length]);
    backend.write(handle, dtype, data);
    return handle;
  };
  const guarded = (output: Output): TypedArray => {
    const data = newTypedArray(output.dtype ?? 'f32', output.numel + GUARD).fill(77);
    if (output.initial) data.set(output.initial);
    return data;
  };
  const ins = call.inputs.map((input) => (input ? place(input) : backend.nil));
  const outs = call.outputs.map((output) =>
    output.alias === undefined ? place(guarded(output)) : ins[output.alias],
  );
  call.run(kernels, outs, ins);
  const results = call.outputs.map((output, i) => {
    const dtype = output.dtype ?? 'f32';
    if (output.alias === undefined) {
      const behind = backend.read(outs[i], dtype, GUARD, output.numel);
      assert.ok(
        behind.every((value) => value === 77),
        `${backend.description}: wrote behind output ${i}`,
      );
    }
    return backend.read(outs[i], dtype, output.numel);
  });
  call.inputs.forEach((input, i) => {
    if (!input || call.outputs.some((output) => output.alias === i)) return;
    const after = backend.read(ins[i], dtypeOf(input), input.length);
    assert.deepEqual(after, input, `${backend.description}: wrote into input ${i}`);
  });
  for (const [handle, dtype, numel] of held) backend.free(handle, dtype, numel);
  return results;
}

/** @throws AssertionError naming the first element out of tolerance */
export function assertClose(got: TypedArray, expected: TypedArray, tolerance: Tolerance): void {
  assert.equal(got.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    const a = got[i];
    const b = expected[i];
    if (Object.is(a, b) || a === b) continue;
    const allowed = tolerance.absolute + tolerance.relative * Math.abs(b);
    const bad = !(Math.abs(a - b) <= allowed);
    if (bad) assert.fail(`[${i}]: got ${a}, expected ${b}, off by ${a - b}, allowed ${allowed}`);
  }
}
