import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import { generate, type WeightPrecision } from '../../../src/model/index.ts';
import { type Backend, scope, wasmBackend } from '../../../src/tensor/index.ts';
import { threadedBackend } from '../../support/threads.ts';
import { type TinyFolder, tinyFolders } from '../../support/tiny-models.ts';
import { trainSide } from '../../support/train-steps.ts';

const one = wasmBackend();
const several = [await threadedBackend(2), await threadedBackend(3), await threadedBackend(4)];

/** One token, a tile of queries and one more, more than a tile of keys, and less than any. */
const LENGTHS = [1, 17, 70, 16, 5];

/** Rows after each layer, logits, and the tokens that follow a prompt: with a cache, row by row. */
async function run({ path, reference }: TinyFolder, precision: WeightPrecision, backend: Backend) {
  const { model, close } = await openModelPath(path);
  const backbone = await model.load(model.weights('0'.repeat(64)), precision, backend);
  await close();
  const known = (reference.sequences ?? []).flatMap(({ ids }) => ids);
  const lengths = LENGTHS.map((n) => Math.min(n, backbone.config.maxPositionEmbeddings));
  const total = lengths.reduce((sum, n) => sum + n, 0);
  const ids = Int32Array.from({ length: total }, (_, i) => known[(i * 7) % known.length]);
  const decoder = backbone.family === 'decoder';
  const rows: Float32Array[] = [];
  scope(() => {
    const last = backbone.forward({ ids, lengths }, (_, state) => rows.push(state.toFloat32()));
    if (decoder) rows.push(backbone.logits(last).toFloat32());
  });
  const prompt = Array.from(ids.subarray(0, 20));
  const made = decoder ? [...generate(backbone, prompt, { maxTokens: 12 })] : [];
  backbone.dispose();
  return { rows, made };
}

describe('a model gives the bits of one thread in several', () => {
  for (const folder of tinyFolders().filter(({ reference }) => reference.sequences)) {
    for (const precision of ['f32', 'int8', 'int4'] as const) {
      it(`${folder.name} ${precision}`, async () => {
        const expected = await run(folder, precision, one);
        for (const backend of several) {
          assert.deepStrictEqual(await run(folder, precision, backend), expected);
        }
      });
    }
  }
});

it('a training of the side network gives the bits of one thread in several', async () => {
  const settings = { calls: 4, way: 'stepwise' } as const;
  const { steps, params } = await trainSide(one, settings);
  for (const backend of several) {
    const made = await trainSide(backend, settings);
    assert.deepStrictEqual([made.steps, made.params], [steps, params]);
  }
});
