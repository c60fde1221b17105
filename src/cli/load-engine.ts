import { createHash } from 'node:crypto';
import { DeviceEngine } from '../device/device-engine.ts';
import type { BackboneConfig, ModelDialogue } from '../model/index.ts';
import { randomWeightSource } from '../model/weights/random-source.ts';
import { sha256File } from '../platform/node.ts';
import { cpuBackend, setBackend, wasmBackend } from '../tensor/index.ts';
import { spawnKernelThread } from '../threads/node.ts';
import type { LoadModelOptions } from './device-thread.ts';
import { openModelPath } from './model-files.ts';
import { loadPacked, type PackedState } from './packed-models.ts';

/** What came of loading a model: the engine, and what its files say beside the weights. */
export interface LoadedEngine {
  readonly engine: DeviceEngine;
  readonly config: BackboneConfig;
  readonly parameters: number;
  readonly dialogue: ModelDialogue;
  readonly fingerprint: string;
  readonly packed: PackedState;
}

/** A model file or folder as a device engine in this thread, on a backend of its own. */
export async function loadEngine(
  options: LoadModelOptions,
  onProgress?: (share: number) => void,
): Promise<LoadedEngine> {
  const { threads = 1 } = options;
  const wasm =
    options.backend === 'wasm' ? wasmBackend({ threads, spawn: spawnKernelThread }) : undefined;
  const backend = wasm ?? cpuBackend();
  setBackend(backend);
  const { model, weightsPaths, close } = await openModelPath(options.path);
  try {
    const { randomSeed } = options;
    const weights =
      randomSeed === undefined
        ? model.weights(await fingerprintOf(weightsPaths))
        : randomWeightSource(randomSeed);
    const { backbone, packed } = await loadPacked(model, weights, {
      precision: options.precision,
      weights: options.weights,
      backend,
      // Random weights are made for one job.
      mode: randomSeed === undefined ? (options.pack ?? 'never') : 'never',
      onProgress: (done, total) => onProgress?.(done / total),
    });
    // They came up while the weights were loaded.
    await wasm?.ready;
    const engine = new DeviceEngine(backbone, model.tokenizer, model.dialogue.chatTemplate);
    const { config, parameters, dialogue } = model;
    return { engine, config, parameters, dialogue, fingerprint: weights.fingerprint, packed };
  } finally {
    await close();
  }
}

/** SHA-256 (hex) of a file; of several, that of their hashes one after the other, as text. */
async function fingerprintOf(paths: readonly string[]): Promise<string> {
  const hashes: string[] = [];
  for (const path of paths) hashes.push(await sha256File(path));
  return hashes.length === 1
    ? hashes[0]
    : createHash('sha256').update(hashes.join('')).digest('hex');
}
