import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { UsageError } from '../tensor/errors.ts';
import { DeviceThread, type LoadModelOptions } from './device-thread.ts';
import { type ModelFlags, threadsOf } from './flags.ts';
import { findModel } from './models.ts';
import type { PackedState, PackMode } from './packed-models.ts';
import { formatBytes, ProgressLine } from './progress.ts';
import { hubAccess } from './pull-hub-access.ts';
import { findPulled, parseRepo } from './pull-hub-cache.ts';
import { pullWithProgress } from './pull-progress.ts';

/** Whether a text is a model's name or `org/name[@revision]`, and no path of something that is there. */
export function namesModel(text: string): boolean {
  return findModel(text) !== undefined || (!existsSync(text) && parseRepo(text) !== undefined);
}

/** Turns `--model` into a file or folder: a path as it is, a name through the cache, fetched when missing; `org/name[@revision]` as pulled before. */
export async function resolveModel(
  model: string,
  options: { quiet: boolean; signal?: AbortSignal },
): Promise<string> {
  if (findModel(model)) return (await pullWithProgress(model, options)).path;
  if (existsSync(model)) return model;
  const place = parseRepo(model);
  const pulled = place && (await findPulled(hubAccess(process.env), place));
  if (pulled) return pulled;
  throw new UsageError(
    place
      ? `--model: ${model} is no path, and not in the hub's cache; mobillm pull ${model} fetches it`
      : `--model: ${model} is neither a file nor a named model (mobillm pull --help lists them)`,
    'E_NOT_FOUND',
  );
}

/** What people are told of packed weights: faults always, the rest unless `quiet`. */
function packedLines({ state, path, bytes, notes }: PackedState, quiet: boolean): string[] {
  const size = formatBytes(bytes ?? 0);
  const words = {
    unused: [],
    read: [`weights: packed, ${size} out of ${path}`],
    written: [`weights: packed into ${path}, ${size}, for the next start`],
  };
  return [...notes.map((note) => `note: ${note}`), ...(quiet ? [] : words[state])];
}

/** Threads that compute. @throws UsageError where several are asked of the reference, which has one */
export function deviceThreads({ deviceBackend, threads = 1 }: ModelFlags): number {
  if (deviceBackend === 'wasm') return threadsOf(threads);
  if (threads === 'auto' || threads === 1) return 1;
  throw new UsageError(
    `--threads: --device-backend ${deviceBackend} computes in one thread; use 1`,
  );
}

/** Loads `--model` into a compute thread, showing how far it is. */
export async function loadDevice(
  flags: ModelFlags & Pick<LoadModelOptions, 'batchSize' | 'maxSeqLength' | 'connected' | 'lm'>,
  options: { quiet: boolean; signal?: AbortSignal; randomSeed?: number; pack?: PackMode },
): Promise<DeviceThread> {
  const path = await resolveModel(flags.model, options);
  const line = new ProgressLine({ silent: options.quiet });
  const device = await DeviceThread.load(
    {
      path,
      precision: flags.precision,
      weights: flags.weights,
      memoryLimit: flags.memoryLimit,
      batchSize: flags.batchSize,
      maxSeqLength: flags.maxSeqLength,
      connected: flags.connected,
      lm: flags.lm,
      backend: flags.deviceBackend,
      threads: deviceThreads(flags),
      randomSeed: options.randomSeed,
      pack: options.pack ?? (flags.pack === false ? 'never' : 'auto'),
    },
    (share) => line.update(() => `loading ${basename(path)}: ${Math.round(share * 100)}%`),
    options.signal,
  ).finally(() => line.done());
  for (const text of packedLines(device.info.packed, options.quiet)) {
    process.stderr.write(`${text}\n`);
  }
  return device;
}
