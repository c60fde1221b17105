import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Llama } from '../../src/model/index.ts';
import { argmax, scope, slice } from '../../src/tensor/index.ts';
import { skipWithoutModel } from '../support/model.ts';
import {
  loadSmolLm2,
  type ReferencePrompt,
  smolLm2Reference,
  unpackF32,
  unpackLogits,
} from '../support/smollm2.ts';

/** The project asks for 1e-2; 3e-5 was measured, so ten times less than asked is a fair alarm. */
const LOGIT = 1e-3;
/** The same in units of the logits' standard deviation. */
const LOGIT_OF_SPREAD = 1e-3;
/** Log of a sum over 49,152 logits: no farther off than the largest of them. */
const LOGSUMEXP = LOGIT;
/**
 * A hidden state's error in units of its layer's largest element. Position 0's residual reaches
 * 22,500: its own maximum is what f32 rounding scales with. 1e-6 was measured, 1e-3 is asked for.
 */
const HIDDEN_OF_LARGEST = 1e-5;

const reference = smolLm2Reference();

const largest = (values: Float32Array) =>
  values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

function deviation(values: Float32Array): number {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  return Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
}

function maxError(actual: Float32Array, expected: Float32Array): number {
  assert.equal(actual.length, expected.length);
  return actual.reduce((most, x, i) => {
    const error = Math.abs(x - expected[i]);
    return error <= most ? most : error; // a NaN becomes the result
  }, 0);
}

/** Logits of the last position, the likeliest token at every one, and the last row of each tap. */
function run(model: Llama, prompt: ReferencePrompt) {
  return scope(() => {
    const taps: Float32Array[] = [];
    const ids = Int32Array.from(prompt.ids);
    const hidden = model.forward({ ids, lengths: [ids.length] }, (layer, state) => {
      assert.equal(layer, taps.length);
      taps.push(state.toFloat32().slice(-model.config.hiddenSize));
    });
    const logits = model.logits(hidden);
    return {
      taps,
      likeliest: [...argmax(logits, 1).toArray()],
      last: slice(logits, 0, ids.length - 1, ids.length).toFloat32(),
    };
  });
}

describe('SmolLM2-135M in f32 against PyTorch', { skip: skipWithoutModel() }, async () => {
  const loaded = skipWithoutModel() ? undefined : await loadSmolLm2('f32');
  for (const [name, prompt] of Object.entries(reference.prompts)) {
    it(`${name}: ids, logits, order of the top ten, argmax everywhere, hidden states`, (t) => {
      const { model, tokenizer } = loaded as NonNullable<typeof loaded>;
      assert.deepEqual(tokenizer.encode(prompt.text), prompt.ids);
      const { taps, likeliest, last } = run(model, prompt);

      assert.deepEqual(likeliest, prompt.argmaxEveryPosition);
      const order = [...last.keys()].sort((a, b) => last[b] - last[a]).slice(0, 10);
      assert.deepEqual(
        order,
        prompt.top10.map(([id]) => id),
      );
      for (const [id, logit] of prompt.top10) {
        assert.ok(
          Math.abs(last[id] - logit) <= LOGIT,
          `token ${id}: ${last[id]}, PyTorch ${logit}`,
        );
      }
      const expected = unpackLogits(prompt);
      // The fixture's steps of 16 bits add half a step to what can be told apart.
      const error = maxError(last, expected);
      const bound = Math.min(LOGIT, LOGIT_OF_SPREAD * deviation(expected));
      const { step } = prompt.lastLogits;
      assert.ok(error <= bound + step / 2, `logits are off by ${error}, allowed ${bound}`);
      const top = largest(last);
      const logsumexp = top + Math.log(last.reduce((sum, x) => sum + Math.exp(x - top), 0));
      assert.ok(Math.abs(logsumexp - prompt.logsumexpLast) <= LOGSUMEXP);

      assert.equal(taps.length, model.config.numHiddenLayers + 1);
      let worst = 0;
      prompt.hiddenLastPosition?.forEach((base64, layer) => {
        const want = unpackF32(base64);
        const relative = maxError(taps[layer], want) / largest(want);
        assert.ok(relative <= HIDDEN_OF_LARGEST, `layer ${layer} is off by ${relative}`);
        worst = Math.max(worst, relative);
      });
      t.diagnostic(`logits within ${error} (fixture ${step / 2}), hidden states within ${worst}`);
    });
  }
});
