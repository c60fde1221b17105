import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { outputsOf } from '../device/tap-plan.ts';
import { type AdapterConfig, parseAdapterConfig } from '../model/adapter.ts';
import type { LoadedAdapter } from '../model/index.ts';
import { loadAdapterWeights } from '../model/side/adapter-weights.ts';
import { createSideModel } from '../model/side/registry.ts';
import { memoryByteSource } from '../platform/byte-source.ts';
import { fileByteSource, readText, writeFolderAtomic } from '../platform/node.ts';
import { type Backend, FormatError } from '../tensor/index.ts';
import { modelCard } from './model-card.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const BASELINES = 'baselines';

/** One trained side model, as it is saved. */
export interface SavedAdapter {
  readonly config: AdapterConfig;
  readonly weights: Uint8Array;
}

/**
 * Writes an adapter folder whole or not at all: config, weights, model card, and each baseline as an
 * adapter of its own under `baselines/`.
 * @param texts further files, by name
 * @throws UsageError (E_DISK_FULL, E_NO_ACCESS, E_FILE)
 */
export async function writeAdapterFolder(
  path: string,
  adapter: SavedAdapter,
  baselines: ReadonlyMap<string, SavedAdapter>,
  texts: Readonly<Record<string, string>> = {},
): Promise<void> {
  const write = async (folder: string, { config, weights }: SavedAdapter) => {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, CONFIG), `${JSON.stringify(config, null, 2)}\n`);
    await writeFile(join(folder, WEIGHTS), weights);
    await writeFile(join(folder, 'README.md'), modelCard(config));
  };
  await writeFolderAtomic(
    path,
    async (folder) => {
      await write(folder, adapter);
      for (const [name, text] of Object.entries(texts)) await writeFile(join(folder, name), text);
      for (const [name, baseline] of baselines)
        await write(join(folder, BASELINES, name), baseline);
    },
    // Those of another run say nothing about this one.
    [BASELINES],
  );
}

/**
 * Reads an adapter folder.
 * @throws UsageError (E_NOT_FOUND) when a file is missing, FormatError (E_ADAPTER) when the config
 * is not one
 */
export async function readAdapterFolder(path: string): Promise<SavedAdapter> {
  const file = join(path, CONFIG);
  const text = await readText(file);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${file}: not JSON: ${(error as Error).message}`, 'E_ADAPTER');
  }
  const config = parseAdapterConfig(value, file);
  const source = await fileByteSource(join(path, WEIGHTS));
  try {
    return { config, weights: await source.read(0, source.size) };
  } finally {
    await source.close();
  }
}

/** Puts an adapter onto a backend. @throws FormatError (E_ADAPTER, E_SAFETENSORS) */
export async function instantiateAdapter(
  { config, weights }: SavedAdapter,
  backend: Backend,
): Promise<LoadedAdapter> {
  const shape = {
    layers: config.layers.length,
    width: config.base_model.hidden_size,
    kinds: config.taps.length,
    classes: config.lm ? 0 : outputsOf(config.labels),
  };
  const model = createSideModel(config.side, shape, {
    rank: config.rank,
    alphaStart: config.alpha_start,
    gateRate: config.gate_rate,
    head: config.head,
    tapDropout: 0,
  });
  return loadAdapterWeights(memoryByteSource(weights, WEIGHTS), model, backend);
}
