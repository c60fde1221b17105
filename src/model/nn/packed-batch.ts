import { type Backend, type Tensor, tensor, UsageError } from '../../tensor/index.ts';

/** First row and length of every sequence, i32 `[S, 2]`. */
export function segmentsOf(lengths: readonly number[], backend: Backend): Tensor {
  const bounds = new Int32Array(2 * lengths.length);
  let start = 0;
  lengths.forEach((length, s) => {
    bounds.set([start, length], 2 * s);
    start += length;
  });
  return tensor(bounds, [lengths.length, 2], { backend });
}

/** Position of every token in its sequence, i32 `[T]`, counted from `offset`. */
export function positionsOf(lengths: readonly number[], offset: number, backend: Backend): Tensor {
  const positions = lengths.flatMap((length) => Array.from({ length }, (_, t) => offset + t));
  return tensor(Int32Array.from(positions), [positions.length], { backend });
}

/**
 * Tokens of the longest sequence, with `offset` before it.
 * @throws UsageError when they are more than the model's context
 */
export function longestWithin(context: number, lengths: readonly number[], offset = 0): number {
  const longest = offset + Math.max(0, ...lengths);
  if (longest > context) {
    throw new UsageError(
      `a sequence of ${longest} tokens exceeds the model's context of ${context}; lower --max-seq-length`,
    );
  }
  return longest;
}
