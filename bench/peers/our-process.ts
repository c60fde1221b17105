// mobillm's own engine, as `mobillm bench` runs it.
import { loadEngine } from '../../src/cli/load-engine.ts';
import { generate } from '../../src/model/index.ts';
import { kernelVariant } from '../../src/quant/index.ts';
import { serveEngine } from './model-runner.ts';

await serveEngine(async ({ model, threads, precision = 'int8' }) => {
  const { engine } = await loadEngine({
    path: model,
    precision,
    backend: 'wasm',
    threads,
    pack: 'auto',
  });
  const { backbone } = engine;
  const kernel = precision === 'int8' ? 'gemmQd8F32Qc8w' : 'gemmQd8F32Qb4w';
  return {
    variant: `${backbone.backend.description}, ${kernelVariant(backbone.backend, kernel)}`,
    generate: async (ids, count) =>
      Array.from(generate(backbone, Array.from(ids), { maxTokens: count })),
  };
});
