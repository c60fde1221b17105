import { createHash } from 'node:crypto';
import { totalmem } from 'node:os';
import { DeviceEngine } from '../device/device-engine.ts';
import type { BackboneConfig, ModelDialogue, StoredModel } from '../model/index.ts';
import { randomWeightSource } from '../model/weights/random-source.ts';
import { sha256File } from '../platform/node.ts';
import { cpuBackend, setBackend, wasmBackend } from '../tensor/index.ts';
import { spawnKernelThread } from '../threads/node.ts';
import type { LoadModelOptions } from './device-thread.ts';
import { checkFits, planMemory } from './memory-plan.ts';
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
  const { model, weightsPaths, close } = await openModelPath(options.path);
  try {
    const maximumBytes = await checkMemory(model, options);
    const { threads = 1, randomSeed } = options;
    const wasm =
      options.backend === 'wasm'
        ? wasmBackend({ threads, spawn: spawnKernelThread, maximumBytes })
        : undefined;
    const backend = wasm ?? cpuBackend();
    setBackend(backend);
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

/** A model whose weights are below this share of the machine's memory needs no look at the rest. */
const SURE_SHARE = 0.25;

/**
 * Bytes for the backend's memory.
 * @throws UsageError (E_MEMORY) where the model will not fit in what it may take
 */
async function checkMemory(
  model: StoredModel,
  options: LoadModelOptions,
): Promise<number | undefined> {
  const { memoryLimit, precision, batchSize = 1, maxSeqLength = 256 } = options;
  const machine = process.constrainedMemory() || totalmem();
  const all = Math.min(machine, totalmem());
  const sure = model.weightBytes(precision) < SURE_SHARE * all;
  if (memoryLimit === undefined && (sure || options.weights === 'stream')) return undefined;
  const work = { ...options, lengths: Array<number>(batchSize).fill(maxSeqLength) };
  return checkFits(
    await planMemory(model, work),
    work,
    memoryLimit === undefined
      ? { available: all, because: "memory: this machine's" }
      : { available: memoryLimit, because: '--memory-limit' },
  );
}

/** SHA-256 (hex) of a file; of several, that of their hashes one after the other, as text. */
async function fingerprintOf(paths: readonly string[]): Promise<string> {
  const hashes: string[] = [];
  for (const path of paths) hashes.push(await sha256File(path));
  return hashes.length === 1
    ? hashes[0]
    : createHash('sha256').update(hashes.join('')).digest('hex');
}
