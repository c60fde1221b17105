import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import { encodeLmHead, type OutputHead } from '../../../src/model/index.ts';
import { loadLmHead } from '../../../src/model/load-head.ts';
import { wasmBackend } from '../../../src/tensor/index.ts';
import { tinyFolder } from '../../support/tiny-models.ts';

for (const name of ['llama', 'gpt2', 'opt', 'qwen2-sharded']) {
  test(`the head of ${name} without its layers is that of the whole model`, async () => {
    const { model, close } = await openModelPath(tinyFolder(name).path);
    try {
      for (const precision of ['int8', 'int4', 'f32'] as const) {
        const backend = wasmBackend();
        const backbone = await model.load(model.weights(''), precision, backend);
        const whole = encodeLmHead(backbone.outputHead as OutputHead, backend);
        backbone.dispose();
        const before = backend.memory().bytes;
        assert.deepEqual(await loadLmHead(model, model.weights(''), precision, backend), whole);
        assert.equal(backend.memory().bytes, before);
      }
    } finally {
      await close();
    }
  });
}

test('an encoder has none', async () => {
  const { model, close } = await openModelPath(tinyFolder('bert').path);
  try {
    const loading = loadLmHead(model, model.weights(''), 'f32', wasmBackend());
    await assert.rejects(loading, { name: 'UsageError', message: /bert is an encoder/ });
  } finally {
    await close();
  }
});
