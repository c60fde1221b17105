// llama.cpp through node-llama-cpp, with the libraries of one folder.
import { registerHooks } from 'node:module';
import { importPeer } from './installed.ts';
import { serveEngine } from './model-runner.ts';

/** What we use of node-llama-cpp. */
interface NodeLlamaCpp {
  getLlama(options: Record<string, unknown>): Promise<{
    readonly systemInfo: string;
    loadModel(options: Record<string, unknown>): Promise<{
      createContext(options: Record<string, unknown>): Promise<{
        getSequence(): {
          clearHistory(): Promise<void>;
          evaluate(ids: readonly number[], options: Record<string, unknown>): AsyncIterable<number>;
        };
      }>;
    }>;
  }>;
}

/** Positions of the context: pp512 and what it makes. */
const CONTEXT = 1024;

/** Where node-llama-cpp looks for its libraries, which is a package of its own. */
function redirect(libraries: string): void {
  registerHooks({
    resolve(specifier, context, next) {
      if (!specifier.startsWith('@node-llama-cpp/')) return next(specifier, context);
      const real = next(specifier, context);
      // The original says which version it is; only the folder changes.
      const source = `import { getBinsDir as real } from ${JSON.stringify(`${real.url}?real`)};
        export const getBinsDir = () => ({ ...real(), binsDir: ${JSON.stringify(libraries)} });`;
      return { url: `data:text/javascript,${encodeURIComponent(source)}`, shortCircuit: true };
    },
  });
}

await serveEngine(async ({ model, threads, libraries }) => {
  if (libraries) redirect(libraries);
  const { getLlama } = await importPeer<NodeLlamaCpp>('node-llama-cpp');
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    maxThreads: 0,
    logLevel: 'error',
    progressLogs: false,
  });
  const loaded = await llama.loadModel({ modelPath: model, gpuLayers: 0 });
  const context = await loaded.createContext({
    contextSize: CONTEXT,
    batchSize: 512,
    threads: { ideal: threads, min: threads },
    sequences: 1,
  });
  const sequence = context.getSequence();
  // `CPU : SSE3 = 1 | AVX2 = 1 | ... | REPACK = 1`: what the library that was loaded uses.
  const flags = Array.from(llama.systemInfo.matchAll(/(\w+) = 1/g), ([, name]) => name);
  return {
    variant: flags.join(' '),
    async generate(ids, count) {
      await sequence.clearHistory();
      const made: number[] = [];
      for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
        made.push(token);
        if (made.length === count) break;
      }
      return made;
    },
  };
});
