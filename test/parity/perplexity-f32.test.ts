import assert from 'node:assert/strict';
import { it } from 'node:test';
import { skipWithoutModel } from '../support/model.ts';
import {
  assertPerplexity,
  F32_WINDOW_NLL,
  LONG_TESTS,
  perplexityOf,
} from '../support/perplexity.ts';
import { smolLm2Reference } from '../support/smollm2.ts';

/** f32 kernels differ from PyTorch's by the order of their sums; 9e-6 was measured. */
const SAME = 5e-5;

it('the f32 figures that integers are compared with give the perplexity of PyTorch', () => {
  const { ppl_all: expected } = smolLm2Reference().perplexity.wordnet;
  const error = Math.abs(perplexityOf(F32_WINDOW_NLL) / expected - 1);
  assert.ok(error < SAME, `${perplexityOf(F32_WINDOW_NLL)}, PyTorch ${expected}`);
});

const skip = skipWithoutModel() || (!LONG_TESTS && 'takes a minute: set MOBILLM_LONG_TESTS=1');

it('f32: perplexity of SmolLM2-135M on WordNet glosses', { skip }, (t) =>
  assertPerplexity('f32', F32_WINDOW_NLL.length, SAME, t),
);
