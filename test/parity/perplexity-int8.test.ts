import { it } from 'node:test';
import { skipWithoutModel } from '../support/model.ts';
import { assertPerplexity } from '../support/perplexity.ts';

/** By how much integer kernels may raise perplexity: a bound the project sets itself. */
const ALLOWED = 0.02;

it('int8: perplexity of SmolLM2-135M on WordNet glosses', { skip: skipWithoutModel() }, (t) =>
  assertPerplexity('int8', ALLOWED, t),
);
