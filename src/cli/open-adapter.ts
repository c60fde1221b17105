import { type Command, Option } from 'commander';
import type { AdapterConfig } from '../model/index.ts';
import { FormatError } from '../tensor/errors.ts';
import { planOfAdapter } from './adapter-config.ts';
import type { SavedAdapter } from './adapter-folder.ts';
import type { DeviceThread } from './device-thread.ts';
import {
  memoryLimitOption,
  packOption,
  type ThreadChoice,
  threadsOption,
  weightsOption,
} from './flags.ts';
import { loadDevice } from './load-device.ts';
import type { PlannedLm } from './memory-plan.ts';
import type { WeightPlace } from './packed-models.ts';

/** What the commands that run an adapter share. */
export interface AdapterFlags {
  readonly adapterPath: string;
  /** Default: the model the adapter was trained on. */
  readonly model?: string;
  readonly deviceBackend: 'wasm' | 'cpu';
  readonly threads: ThreadChoice;
  readonly weights?: WeightPlace;
  /** Bytes of the whole process. */
  readonly memoryLimit?: number;
  /** Samples run together, for what memory they take; one unless told. */
  readonly batchSize?: number;
  /** False for --no-pack. */
  readonly pack?: boolean;
}

/** --adapter-path, --model, --device-backend, --threads, --weights, --memory-limit. */
export function addAdapterFlags(command: Command): Command {
  return command
    .option('--adapter-path <folder>', 'adapter to run', 'adapter')
    .option('--model <name|path>', 'model to run under (default: the one it was trained on)')
    .addOption(
      new Option('--device-backend <name>', 'what computes')
        .choices(['wasm', 'cpu'])
        .default('wasm'),
    )
    .addOption(threadsOption())
    .addOption(weightsOption())
    .addOption(memoryLimitOption())
    .addOption(packOption());
}

/** What memory rows of a language model take that are scored with an adapter. */
function plannedLm({ layers, codec, ...config }: AdapterConfig): PlannedLm {
  const { side, rank, head, alpha_start: alphaStart, gate_rate: gateRate } = config;
  const scored = { side, rank, head, alphaStart, gateRate, tapDropout: 0 };
  return { layers: layers.length, bits: codec.bits, scored };
}

/**
 * A device with the adapter's backbone, in the precision it was trained with, ready to classify
 * under the name `adapter`.
 * @throws FormatError (E_MODEL_MISMATCH) when the model is not the one the adapter was trained on
 */
export async function openAdapter(
  adapter: SavedAdapter,
  flags: AdapterFlags,
  options: { quiet: boolean; signal?: AbortSignal },
): Promise<DeviceThread> {
  const { config } = adapter;
  const { base_model: base } = config;
  const device = await loadDevice(
    {
      model: flags.model ?? base.name,
      precision: config.precision,
      deviceBackend: flags.deviceBackend,
      threads: flags.threads,
      weights: flags.weights,
      memoryLimit: flags.memoryLimit,
      batchSize: flags.batchSize,
      maxSeqLength: config.max_seq_length,
      // Who runs no batches scores none.
      ...(config.lm && flags.batchSize !== undefined && { lm: plannedLm(config) }),
      pack: flags.pack,
    },
    { ...options, randomSeed: base.random_seed },
  );
  try {
    if (device.info.fingerprint !== base.sha256) {
      throw new FormatError(
        `--model: its SHA-256 is ${device.info.fingerprint.slice(0, 12)}..., the adapter was trained on ${base.name}, ${base.sha256.slice(0, 12)}...`,
        'E_MODEL_MISMATCH',
      );
    }
    await device.usePlan(planOfAdapter(config));
    await device.loadAdapter('adapter', adapter);
    return device;
  } catch (error) {
    await device.close();
    throw error;
  }
}
