import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { UsageError } from '../tensor/errors.ts';
import { DeviceThread } from './device-thread.ts';
import type { ModelFlags } from './flags.ts';
import { findModel } from './models.ts';
import { ProgressLine } from './progress.ts';
import { pullWithProgress } from './pull-progress.ts';

/** Turns `--model` into a file or folder: a path as it is, a name through the cache, fetched when missing. */
export async function resolveModel(
  model: string,
  options: { quiet: boolean; signal?: AbortSignal },
): Promise<string> {
  if (findModel(model)) return pullWithProgress(model, options);
  if (existsSync(model)) return model;
  throw new UsageError(
    `--model: ${model} is neither a file nor a named model (mobillm pull --help lists them)`,
    'E_NOT_FOUND',
  );
}

/** Loads `--model` into a compute thread, showing how far it is. */
export async function loadDevice(
  flags: ModelFlags,
  options: { quiet: boolean; signal?: AbortSignal; randomSeed?: number },
): Promise<DeviceThread> {
  const path = await resolveModel(flags.model, options);
  const line = new ProgressLine({ silent: options.quiet });
  const device = await DeviceThread.load(
    {
      path,
      weights: flags.weights,
      backend: flags.deviceBackend,
      randomSeed: options.randomSeed,
    },
    (share) => line.update(() => `loading ${basename(path)}: ${Math.round(share * 100)}%`),
    options.signal,
  ).finally(() => line.done());
  return device;
}
