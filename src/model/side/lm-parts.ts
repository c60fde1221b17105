/** Rows of an output matrix that are coded, decoded and multiplied at once. */
export const HEAD_PIECE_ROWS = 2048;

/** Tokens of a part at the most: their side network's values are some hundred kilobytes each. */
const TOKENS = 256;

/** Numbers of a part's states at the most: half a megabyte, as several may travel at a time. */
const STATES = 2 ** 17;

/**
 * Tokens of a language model's batch that go through a side network of that width at once, and to a
 * device that keeps the labels. Gradients of the parts add up to those of the batch.
 */
export function partTokens(width: number): number {
  return Math.max(1, Math.min(TOKENS, Math.floor(STATES / width)));
}
