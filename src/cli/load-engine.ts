import { DeviceEngine } from '../device/index.ts';
import {
  ggufWeightSource,
  type LlamaConfig,
  llamaConfigFromGguf,
  loadLlama,
  openGguf,
  randomWeightSource,
  tokenizerFromGguf,
} from '../model/index.ts';
import { fileByteSource, sha256File } from '../platform/node.ts';
import { cpuBackend, setBackend, wasmBackend } from '../tensor/index.ts';
import type { LoadModelOptions } from './device-thread.ts';

/** A model file as a device engine in this thread, on a backend of its own. */
export async function loadEngine(
  options: LoadModelOptions,
  onProgress?: (share: number) => void,
): Promise<{ engine: DeviceEngine; config: LlamaConfig; fingerprint: string }> {
  const backend = options.backend === 'cpu' ? cpuBackend() : wasmBackend();
  setBackend(backend);
  const source = await fileByteSource(options.path);
  try {
    const file = await openGguf(source);
    const config = llamaConfigFromGguf(file);
    const { randomSeed } = options;
    const weights =
      randomSeed === undefined
        ? ggufWeightSource(file, await sha256File(options.path), config.headDim)
        : randomWeightSource(randomSeed);
    const tokenizer = tokenizerFromGguf(file.metadata);
    const backbone = await loadLlama(config, weights, options.weights, backend, (done, total) =>
      onProgress?.(done / total),
    );
    const engine = new DeviceEngine(backbone, tokenizer);
    return { engine, config, fingerprint: weights.fingerprint };
  } finally {
    await source.close();
  }
}
