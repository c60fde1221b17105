import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openModelPath } from '../../src/cli/model-files.ts';
import type { Backbone, WeightPrecision } from '../../src/model/index.ts';
import { type Backend, concat, scope } from '../../src/tensor/index.ts';
import { backends } from '../support/backends.ts';
import { rmsError } from '../support/close.ts';
import { unpackF32 } from '../support/smollm2.ts';
import { tinyFolders } from '../support/tiny-models.ts';

/**
 * Largest error of an element over the largest value beside it: sums of 32 to 64 products in
 * another order, over two layers. 8e-7 was measured.
 */
const CLOSE = 1e-5;

/**
 * Root mean square error of logits over their own, with weights of 7 and of 4 bits: 0.05 and 0.31
 * were measured.
 */
const INTEGER = { int8: 0.1, int4: 0.5 };

async function load(path: string, precision: WeightPrecision, backend: Backend): Promise<Backbone> {
  const { model, close } = await openModelPath(path);
  try {
    return await model.load(model.weights('0'.repeat(64)), precision, backend);
  } finally {
    await close();
  }
}

/** Hidden states after 0..L layers, and logits, of all sequences in one batch. */
function run(model: Backbone, sequences: readonly number[][]) {
  const hidden: Float32Array[] = [];
  const logits = scope(() => {
    const batch = {
      ids: Int32Array.from(sequences.flat()),
      lengths: sequences.map((ids) => ids.length),
    };
    const last = model.forward(batch, (_, state) => hidden.push(state.toFloat32()));
    return model.logits(last).toFloat32();
  });
  return { hidden, logits };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

function expectClose(actual: Float32Array, expected: Float32Array, what: string): number {
  assert.equal(actual.length, expected.length, what);
  const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  let worst = 0;
  actual.forEach((x, i) => {
    const error = Math.abs(x - expected[i]) / largest;
    assert.ok(error <= CLOSE, `${what}, ${i}: ${x}, expected ${expected[i]}`);
    worst = Math.max(worst, error);
  });
  return worst;
}

const models = tinyFolders().filter(({ reference }) => reference.sequences);

for (const { name, path, reference } of models) {
  const sequences = reference.sequences ?? [];
  const inputs = sequences.map(({ ids }) => ids);
  const expected = joined(sequences.map(({ logits }) => unpackF32(logits)));
  describe(`${name} against transformers`, () => {
    for (const { name: backendName, backend } of backends()) {
      it(`f32 on ${backendName}: hidden states and logits`, async (t) => {
        const before = backend.memory().allocations;
        const model = await load(path, 'f32', backend);
        const { hidden, logits } = run(model, inputs);
        assert.equal(hidden.length, model.config.numHiddenLayers + 1);
        const worst = hidden.map((state, layer) => {
          const want = joined(sequences.map((one) => unpackF32(one.hidden[layer])));
          return expectClose(state, want, `layer ${layer}`);
        });
        worst.push(expectClose(logits, expected, 'logits'));
        t.diagnostic(`within ${Math.max(...worst)}`);
        model.dispose();
        assert.equal(backend.memory().allocations, before);
      });

      for (const precision of ['int8', 'int4'] as const) {
        it(`${precision} on ${backendName} stays close`, async (t) => {
          const model = await load(path, precision, backend);
          const error = rmsError(run(model, inputs).logits, expected);
          t.diagnostic(`off by ${error}`);
          assert.ok(error > 0 && error < INTEGER[precision], `off by ${error}`);
          model.dispose();
        });
      }
    }

    it('token by token over a cache is what it is at once', async () => {
      const { backend } = backends()[0];
      const model = await load(path, 'f32', backend);
      const [ids] = inputs;
      const past = model.newCache(ids.length);
      const logits = scope(() => {
        const rows = ids.map((id) =>
          model.forward({ ids: Int32Array.of(id), lengths: [1], past, extendPast: true }),
        );
        return model.logits(concat(rows, 0)).toFloat32();
      });
      expectClose(logits, unpackF32(sequences[0].logits), 'logits');
      past.dispose();
      model.dispose();
    });
  });
}
