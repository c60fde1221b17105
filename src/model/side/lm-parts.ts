/** Rows of an output matrix that are coded, decoded and multiplied at once. */
export const HEAD_PIECE_ROWS = 2048;

/**
 * Tokens whose logits are held at once: of a vocabulary of 50,000, 25 MB, whatever the batch. Fewer
 * would decode a coded matrix more often than it is multiplied.
 */
export const LOSS_ROWS = 128;

/** Tokens of a part at the most: their side network's values are some hundred kilobytes each. */
const TOKENS = 2 * LOSS_ROWS;

/** Numbers of a part's states at the most: a megabyte, as several may travel at a time. */
const STATES = 2 ** 18;

/**
 * Tokens of a language model's batch that go through a side network of that width at once, and to a
 * device that keeps the labels; gradients of the parts add up to those of the batch. Where it can be,
 * a multiple of `LOSS_ROWS`, so that cutting a batch costs no decoding.
 */
export function partTokens(width: number): number {
  const tokens = Math.max(1, Math.min(TOKENS, Math.floor(STATES / width)));
  return tokens < LOSS_ROWS ? tokens : tokens - (tokens % LOSS_ROWS);
}
