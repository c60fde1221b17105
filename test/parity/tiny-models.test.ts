import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openModelPath } from '../../src/cli/model-files.ts';
import type { Backbone, WeightPrecision } from '../../src/model/index.ts';
import { type Backend, concat, scope } from '../../src/tensor/index.ts';
import { backends } from '../support/backends.ts';
import { rmsError } from '../support/close.ts';
import { tinyFolders } from '../support/tiny-models.ts';
import { assertCloseRows, assertCloseRun, expectedOf, runTiny } from '../support/tiny-reference.ts';

/**
 * Root mean square error of logits (of an encoder: of the last rows) over their own, with weights
 * of 7 and of 4 bits: 0.05 and 0.31 were measured.
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

const models = tinyFolders().filter(({ reference }) => reference.sequences);

for (const { name, path, reference } of models) {
  const { sequences = [] } = reference;
  const expected = expectedOf(sequences);
  describe(`${name} against transformers`, () => {
    for (const { name: backendName, backend } of backends()) {
      it(`f32 on ${backendName}: hidden states and logits`, async (t) => {
        const before = backend.memory().allocations;
        const model = await load(path, 'f32', backend);
        t.diagnostic(`within ${assertCloseRun(runTiny(model, sequences), expected)}`);
        model.dispose();
        assert.equal(backend.memory().allocations, before);
      });

      for (const precision of ['int8', 'int4'] as const) {
        it(`${precision} on ${backendName} stays close`, async (t) => {
          const model = await load(path, precision, backend);
          const output = ({ logits, hidden }: typeof expected) => logits ?? hidden[2];
          const error = rmsError(output(runTiny(model, sequences)), output(expected));
          t.diagnostic(`off by ${error}`);
          assert.ok(error > 0 && error < INTEGER[precision], `off by ${error}`);
          model.dispose();
        });
      }
    }

    const encoder = expected.logits === undefined && 'an encoder keeps nothing';
    it('token by token over a cache is what it is at once', { skip: encoder }, async () => {
      const { backend } = backends()[0];
      const model = await load(path, 'f32', backend);
      const { ids } = sequences[0];
      const past = model.newCache(ids.length);
      const logits = scope(() => {
        const rows = ids.map((id) =>
          model.forward({ ids: Int32Array.of(id), lengths: [1], past, extendPast: true }),
        );
        return model.logits(concat(rows, 0)).toFloat32();
      });
      const alone = expectedOf(sequences.slice(0, 1));
      assertCloseRows(logits, alone.logits ?? new Float32Array(), 'logits');
      past.dispose();
      model.dispose();
    });
  });
}
