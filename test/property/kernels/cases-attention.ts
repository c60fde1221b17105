import fc from 'fast-check';
import type { Kernels } from '../../../src/tensor/backend.ts';
import { type KernelCase, kernelCase, type Tolerance } from './case.ts';
import { seed, values } from './values.ts';

/** Means of values below 1 with weights from scores up to about 20, each to a few 1e-6. */
const FORWARD: Tolerance = { absolute: 1e-5, relative: 0 };

/** Sums over up to 150 queries of products of three such. */
const BACKWARD: Tolerance = { absolute: 3e-4, relative: 1e-5 };

/** Lengths before, at and behind tiles of 32 queries and 64 keys. */
const segmentLength = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(1, 2, 3, 5, 8) },
  { weight: 1, arbitrary: fc.constantFrom(0, 31, 32, 33, 64, 67, 130) },
);

const shape = {
  lengths: fc.array(segmentLength, { minLength: 1, maxLength: 3 }),
  gap: fc.constantFrom(0, 0, 2),
  kvHeads: fc.constantFrom(1, 2, 3),
  group: fc.constantFrom(1, 2, 3),
  headDim: fc.constantFrom(1, 2, 3, 4, 7, 8, 9, 12, 16, 17, 64),
  causal: fc.nat(1),
  from: seed,
};

/** Segments one behind the other, `gap` rows of nobody before each. */
function segmentsOf(lengths: readonly number[], gap: number): { segments: Int32Array; T: number } {
  let T = 0;
  const segments = Int32Array.from(
    lengths.flatMap((length) => {
      T += gap + length;
      return [T - length, length];
    }),
  );
  return { segments, T };
}

const attention = kernelCase(
  fc.record({ ...shape, past: fc.constantFrom(0, 0, 1, 3, 63, 64, 65) }),
  ({ lengths, gap, kvHeads, group, headDim, causal, from, past }) => {
    const { segments, T } = segmentsOf(lengths, gap);
    const heads = kvHeads * group;
    const kv = kvHeads * headDim;
    return {
      inputs: [
        values(from, T * heads * headDim, -3, 3),
        values(from + 1, T * kv, -3, 3),
        values(from + 2, T * kv),
        past ? values(from + 3, (past + 1) * kv, -3, 3) : null,
        past ? values(from + 4, (past + 1) * kv) : null,
        segments,
      ],
      outputs: [{ numel: T * heads * headDim }],
      run: (kernels, [out], [q, k, v, kPast, vPast, s]) =>
        kernels.attention(
          ...[out, q, k, v, kPast, vPast],
          ...([past, s, lengths.length, heads, kvHeads, headDim] as const),
          ...([headDim ** -0.5, causal] as const),
        ),
      tolerance: FORWARD,
    };
  },
);

const attentionGrad = kernelCase(
  fc.record(shape),
  ({ lengths, gap, kvHeads, group, headDim, causal, from }) => {
    const { segments, T } = segmentsOf(lengths, gap);
    const heads = kvHeads * group;
    const kv = T * kvHeads * headDim;
    return {
      inputs: [
        values(from, T * heads * headDim, -2, 2),
        values(from + 1, kv, -2, 2),
        values(from + 2, kv),
        values(from + 3, T * heads * headDim),
        segments,
      ],
      outputs: [{ numel: T * heads * headDim }, { numel: kv }, { numel: kv }],
      run: (kernels, [dq, dk, dv], [q, k, v, dy, s]) =>
        kernels.attentionGrad(
          ...([dq, dk, dv, q, k, v, dy, s, lengths.length] as const),
          ...([heads, kvHeads, headDim, headDim ** -0.5, causal] as const),
        ),
      tolerance: BACKWARD,
    };
  },
);

export const attentionCases = { attention, attentionGrad } satisfies Partial<
  Record<keyof Kernels, KernelCase>
>;
