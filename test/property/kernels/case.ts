import assert from 'node:assert/strict';
import type fc from 'fast-check';
import type { Backend, Handle, Kernels } from '../../../src/tensor/backend.ts';
import type { GpuBackend } from '../../../src/tensor/backends/gpu/index.ts';
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
  /** Calls the kernel; `nil` stands for an output that is not there. */
  run(kernels: Kernels, outs: readonly Handle[], ins: readonly Handle[], nil: Handle): void;
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

/** A piece of memory that a call has used. */
interface Held {
  readonly handle: Handle;
  readonly dtype: DType;
  readonly numel: number;
  /** What it is called in messages, and must still hold where it was not written to. */
  readonly what: string;
  readonly unchanged?: TypedArray;
}

/** Runs a call; `finish` takes what lies in `held` afterwards, gives the outputs and frees. */
function begin(
  call: Call,
  backend: Backend,
): { held: readonly Held[]; finish(contents: readonly TypedArray[]): TypedArray[] } {
  const place = (data: TypedArray): Handle => {
    const dtype = dtypeOf(data);
    const handle = backend.alloc(dtype, data.length);
    backend.write(handle, dtype, data);
    return handle;
  };
  const guarded = (output: Output): TypedArray => {
    const data = newTypedArray(output.dtype ?? 'f32', output.numel + GUARD).fill(77);
    if (output.initial) data.set(output.initial);
    return data;
  };
  const held: Held[] = [];
  const ins = call.inputs.map((input, i) => {
    if (!input) return backend.nil;
    const handle = place(input);
    const written = call.outputs.some((output) => output.alias === i);
    const piece = { handle, dtype: dtypeOf(input), numel: input.length, what: `input ${i}` };
    held.push({ ...piece, unchanged: written ? undefined : input });
    return handle;
  });
  const outs = call.outputs.map((output, i) => {
    if (output.alias !== undefined) return ins[output.alias];
    const handle = place(guarded(output));
    const dtype = output.dtype ?? 'f32';
    held.push({ handle, dtype, numel: output.numel + GUARD, what: `output ${i}` });
    return handle;
  });
  call.run(backend.kernels, outs, ins, backend.nil);
  const finish = (contents: readonly TypedArray[]): TypedArray[] => {
    const contentsOf = (handle: Handle) =>
      contents[held.findIndex((piece) => piece.handle === handle)];
    const results = call.outputs.map((output, i) => {
      const all = contentsOf(outs[i]);
      assert.ok(
        output.alias !== undefined || all.subarray(output.numel).every((value) => value === 77),
        `${backend.description}: wrote behind output ${i}`,
      );
      return all.slice(0, output.numel);
    });
    held.forEach(({ what, unchanged }, i) => {
      if (!unchanged) return;
      assert.deepEqual(contents[i], unchanged, `${backend.description}: wrote into ${what}`);
    });
    for (const { handle, dtype, numel } of held) backend.free(handle, dtype, numel);
    return results;
  };
  return { held, finish };
}

/** Runs a call on a backend and returns its outputs; checks that nothing else was written. */
export function perform(call: Call, backend: Backend): TypedArray[] {
  const { held, finish } = begin(call, backend);
  return finish(held.map(({ handle, dtype, numel }) => backend.read(handle, dtype, numel)));
}

/** As `perform`, on a backend that answers later. */
export async function performAsync(call: Call, backend: GpuBackend): Promise<TypedArray[]> {
  const { held, finish } = begin(call, backend);
  const contents: TypedArray[] = [];
  for (const { handle, numel } of held) contents.push(await backend.readAsync(handle, numel));
  return finish(contents);
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
