// mobillm's own engine, as `mobillm bench` runs it.
import { loadEngine } from '../../src/cli/load-engine.ts';
import { generate } from '../../src/model/index.ts';
import { kernelVariant } from '../../src/quant/index.ts';
import { serveEngine } from './model-runner.ts';

await serveEngine(async ({ model, threads }) => {
  if (threads !== 1) throw new Error('one thread is all there is');
  const { engine } = await loadEngine({
    path: model,
    precision: 'int8',
    backend: 'wasm',
    pack: 'auto',
  });
  const { backbone } = engine;
  return {
    variant: `${backbone.precision}, ${kernelVariant(backbone.backend)}`,
    generate: async (ids, count) =>
      Array.from(generate(backbone, Array.from(ids), { maxTokens: count })),
  };
});
