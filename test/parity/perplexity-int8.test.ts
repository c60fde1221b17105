import { it } from 'node:test';
import { skipWithoutModel } from '../support/model.ts';
import { assertPerplexity, F32_WINDOW_NLL, LONG_TESTS } from '../support/perplexity.ts';

/** By how much integer kernels may raise perplexity: a bound the project sets itself. */
const ALLOWED = 0.02;
/** A quarter of the text shows most mistakes in a quarter of the time. */
const WINDOWS = LONG_TESTS || process.env.CI === 'true' ? F32_WINDOW_NLL.length : 2;

it('int8: perplexity of SmolLM2-135M on WordNet glosses', { skip: skipWithoutModel() }, (t) =>
  assertPerplexity('int8', WINDOWS, ALLOWED, t),
);
