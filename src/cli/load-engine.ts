import { DeviceEngine } from '../device/index.ts';
import { type BackboneConfig, randomWeightSource } from '../model/index.ts';
import { sha256File } from '../platform/node.ts';
import { cpuBackend, setBackend, wasmBackend } from '../tensor/index.ts';
import type { LoadModelOptions } from './device-thread.ts';
import { openModelPath } from './model-files.ts';

/** A model file or folder as a device engine in this thread, on a backend of its own. */
export async function loadEngine(
  options: LoadModelOptions,
  onProgress?: (share: number) => void,
): Promise<{ engine: DeviceEngine; config: BackboneConfig; fingerprint: string }> {
  const backend = options.backend === 'cpu' ? cpuBackend() : wasmBackend();
  setBackend(backend);
  const { model, weightsPath, close } = await openModelPath(options.path);
  try {
    const { randomSeed } = options;
    const weights =
      randomSeed === undefined
        ? model.weights(await sha256File(weightsPath))
        : randomWeightSource(randomSeed);
    const backbone = await model.load(weights, options.weights, backend, (done, total) =>
      onProgress?.(done / total),
    );
    const engine = new DeviceEngine(backbone, model.tokenizer);
    return { engine, config: model.config, fingerprint: weights.fingerprint };
  } finally {
    await close();
  }
}
