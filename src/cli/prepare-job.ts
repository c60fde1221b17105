import {
  checkTemplate,
  chooseShots,
  type Dataset,
  loadDataset,
  type Sample,
  type Target,
  type Task,
  targetOf,
} from '../data/index.ts';
import { shotsPrefix, type TapPlan } from '../device/index.ts';
import type { ModelFamily } from '../model/index.ts';
import { listFiles, readText } from '../platform/node.ts';
import type { ActivationBits } from '../quant/index.ts';
import { FormatError, UsageError } from '../tensor/errors.ts';
import { type ColumnFlags, columnsOf } from './column-flags.ts';
import { defaultTemplate, type ModelFlags, type TapFlags } from './flags.ts';
import { resolveModel } from './load-device.ts';
import { factsOfPath } from './model-files.ts';

/** The flags that decide what a job is made of, whoever trains it. */
export interface JobFlags extends ModelFlags, TapFlags, ColumnFlags {
  readonly data: string;
  readonly task: Task | 'auto';
  readonly seed: number;
}

/** A job before its model is loaded: what can fail without one has not. */
export interface PreparedJob {
  readonly data: Dataset;
  /** Rows that stand in every prompt. */
  readonly shots: readonly Sample[];
  /** Rows to train on: all others. */
  readonly train: readonly Sample[];
  /** File or folder of the model. */
  readonly modelPath: string;
  readonly family: ModelFamily;
  readonly template: string;
  /** Where the numbers lie that are to be predicted, by the rows to train on. */
  readonly target?: Target;
}

/**
 * Reads the data, finds the model (fetched when missing) and settles on the prompt.
 * @throws UsageError, FormatError: whatever is wrong with data, template or the model's path
 */
export async function prepareJob(
  flags: JobFlags,
  options: { quiet: boolean; signal?: AbortSignal },
): Promise<PreparedJob> {
  const data = await loadDataset(flags.data, {
    readText,
    listFiles,
    columns: columnsOf(flags),
    seed: flags.seed,
    ...(flags.task !== 'auto' && { task: flags.task }),
  });
  if (flags.template !== undefined) checkTemplate(flags.template, data.pairs);
  const rows = chooseRows(flags, data);
  const modelPath = await resolveModel(flags.model, options);
  const { family, contextLength } = await factsOfPath(modelPath);
  if (flags.maxSeqLength > contextLength) {
    throw new UsageError(
      `--max-seq-length: ${flags.maxSeqLength} tokens exceed the context of ${flags.model}, which is ${contextLength}; use ${contextLength} or fewer`,
    );
  }
  if (family === 'encoder' && flags.prefixShots > 0) {
    throw new UsageError(`--prefix-shots: ${flags.model} is an encoder and keeps no prefix; use 0`);
  }
  const template = flags.template ?? defaultTemplate(family, data.pairs);
  checkTemplate(template, data.pairs, family === 'encoder');
  const target =
    data.task === 'regression' ? targetOf(rows.train.map(({ label }) => label)) : undefined;
  return { data, ...rows, modelPath, family, template, target };
}

function chooseRows(flags: JobFlags, data: Dataset): { shots: Sample[]; train: Sample[] } {
  if (data.valid.length === 0) {
    throw new FormatError(
      `data: ${data.folder}: no class has a row to spare for validation; add rows to train, or a file valid`,
      'E_DATA',
    );
  }
  const shots = chooseShots(data.train, flags.prefixShots, flags.seed);
  const inPrefix = new Set(shots);
  const train = data.train.filter((sample) => !inPrefix.has(sample));
  if (train.length === 0) {
    throw new UsageError(
      `--prefix-shots: ${flags.prefixShots} leave none of ${data.train.length} rows to train on; use fewer`,
    );
  }
  return { shots, train };
}

/** What is tapped of a model that has so many layers, and how prompts read. */
export function planJob(flags: JobFlags, job: PreparedJob, layers: number): TapPlan {
  const { template, data, shots } = job;
  return {
    template,
    labels: data.labels,
    prefix: shotsPrefix(template, data.labels, shots),
    maxSeqLength: flags.maxSeqLength,
    layers: flags.layers(layers),
    kinds: flags.taps,
    bits: Number(flags.activationBits) as ActivationBits,
  };
}
