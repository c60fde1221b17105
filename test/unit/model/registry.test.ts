import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import { randomWeightSource } from '../../../src/model/index.ts';
import { cpuBackend } from '../../../src/tensor/index.ts';
import { tinyFolders } from '../../support/tiny-models.ts';

const backend = cpuBackend();

for (const { name, path } of tinyFolders().filter(({ reference }) => reference.sequences)) {
  describe(`the stored model of ${name}`, () => {
    it('tells the bytes of weights and cache before it is loaded', async () => {
      const { model, close } = await openModelPath(path);
      for (const precision of ['f32', 'int8', 'int4'] as const) {
        const loaded = await model.load(model.weights(''), precision, backend);
        assert.equal(loaded.weightBytes, model.weightBytes(precision), precision);
        if (loaded.family === 'decoder') {
          const before = backend.memory().bytes;
          const cache = loaded.newCache(5);
          assert.equal(backend.memory().bytes - before, 5 * model.cacheBytesPerToken);
          cache.dispose();
        } else assert.equal(model.cacheBytesPerToken, 0);
        loaded.dispose();
      }
      await close();
    });

    it('loads from random weights, the control of every learning figure', async () => {
      const { model, close } = await openModelPath(path);
      const loaded = await model.load(randomWeightSource(3), 'int8', backend);
      const ids = Int32Array.of(1, 2, 3);
      const hidden = loaded.forward({ ids, lengths: [3] });
      assert.ok(hidden.toFloat32().every(Number.isFinite));
      hidden.dispose();
      loaded.dispose();
      await close();
    });

    it('refuses a sequence longer than its context', async () => {
      const { model, close } = await openModelPath(path);
      const loaded = await model.load(model.weights(''), 'int4', backend);
      const tokens = model.config.maxPositionEmbeddings + 1;
      assert.throws(() => loaded.forward({ ids: new Int32Array(tokens), lengths: [tokens] }), {
        code: 'E_USAGE',
        message: new RegExp(`a sequence of ${tokens} tokens exceeds the model's context`),
      });
      loaded.dispose();
      await close();
    });
  });
}
