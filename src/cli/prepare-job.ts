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
import { type LmWording, shotsPrefix, type TapPlan, type TokenSurvey } from '../device/index.ts';
import type { ModelFamily } from '../model/index.ts';
import { listFiles, readText } from '../platform/node.ts';
import type { ActivationBits } from '../quant/index.ts';
import { FormatError, UsageError } from '../tensor/errors.ts';
import { type ColumnFlags, columnsOf } from './column-flags.ts';
import { type DataReport, reportData } from './data-report.ts';
import { defaultTemplate, type ModelFlags, type TapFlags } from './flags.ts';
import { resolveModel } from './load-device.ts';
import { factsOfPath } from './model-files.ts';

/** The flags that decide what a job is made of, whoever trains it. */
export interface JobFlags extends ModelFlags, TapFlags, ColumnFlags {
  readonly data: string;
  readonly task: Task | 'auto';
  /** False for --no-mask-prompt. */
  readonly maskPrompt: boolean;
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
  /** Of the model. */
  readonly layers: number;
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
  const { family, contextLength, layers } = await factsOfPath(modelPath);
  if (data.task === 'lm') checkLm(flags, data, family);
  if (flags.maxSeqLength > contextLength) {
    throw new UsageError(
      `--max-seq-length: ${flags.maxSeqLength} tokens exceed the context of ${flags.model}, which is ${contextLength}; use ${contextLength} or fewer`,
    );
  }
  if (family === 'encoder' && flags.prefixShots > 0) {
    throw new UsageError(`--prefix-shots: ${flags.model} is an encoder and keeps no prefix; use 0`);
  }
  const template =
    flags.template ?? (data.task === 'lm' ? LM_TEMPLATE : defaultTemplate(family, data.pairs));
  checkTemplate(template, data.pairs, family === 'encoder');
  const target =
    data.task === 'regression' ? targetOf(rows.train.map(({ label }) => label)) : undefined;
  return { data, ...rows, modelPath, family, layers, template, target };
}

/** What stands around a prompt where neither the model nor anybody else words it. */
const LM_TEMPLATE = '{text}\n';

/** Fails over what has no meaning in the tuning of a language model. */
function checkLm(flags: JobFlags, { shape }: Dataset, family: ModelFamily): void {
  if (family === 'encoder') {
    throw new UsageError(
      `--task lm: ${flags.model} is an encoder and makes no next token; use a decoder`,
    );
  }
  if (flags.template !== undefined && shape !== 'prompt') {
    throw new UsageError(
      `--template: rows of ${shape} have no prompt to stand around; leave it out`,
    );
  }
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

/** What of a loaded model decides a plan. */
export interface PlannedModel {
  readonly layers: number;
  /** Whether it has a chat template. */
  readonly chat: boolean;
}

/** What is tapped of a model, and how prompts read. */
export function planJob(
  flags: JobFlags,
  job: PreparedJob,
  { layers, chat }: PlannedModel,
): TapPlan {
  const { template, data, shots } = job;
  const { shape } = data;
  const lm: LmWording | undefined = shape && {
    shape,
    // A prompt's own template is what somebody wants around it.
    chat: shape === 'messages' || (shape === 'prompt' && chat && flags.template === undefined),
    maskPrompt: flags.maskPrompt,
    ...(shots.length > 0 && { shots }),
  };
  return {
    template,
    labels: data.labels,
    prefix: lm ? '' : shotsPrefix(template, data.labels, shots),
    maxSeqLength: flags.maxSeqLength,
    layers: flags.layers(layers),
    kinds: lm ? ['token'] : flags.taps,
    bits: Number(flags.activationBits) as ActivationBits,
    ...(lm && { lm }),
  };
}

/** A job whose rows were counted. */
export interface SurveyedJob {
  readonly dataset: DataReport;
  /** Without rows that a language model has nothing to learn from. */
  readonly job: PreparedJob;
  /** Of a language model: tokens in the loss of each row that is left. */
  readonly lossTokens?: Readonly<Record<'train' | 'valid', readonly number[]>>;
}

/**
 * Counts a job's tokens, and leaves rows without a token in the loss out.
 * @throws FormatError (E_DATA) where none is left
 */
export async function surveyJob(
  job: PreparedJob,
  survey: (samples: readonly Sample[]) => Promise<TokenSurvey> | TokenSurvey,
): Promise<SurveyedJob> {
  const surveys = new Map<readonly Sample[], TokenSurvey>();
  const dataset = await reportData(job.data, async (samples) => {
    const counted = await survey(samples);
    surveys.set(samples, counted);
    return counted;
  });
  const { data } = job;
  if (data.task !== 'lm') return { dataset, job };
  const inPrefix = new Set(job.shots);
  const left = (samples: readonly Sample[], part: string) => {
    const { lossTokens = [] } = surveys.get(samples) as TokenSurvey;
    const learnt = samples.map((sample, i) => lossTokens[i] > 0 && !inPrefix.has(sample));
    const kept = samples.filter((_, i) => learnt[i]);
    if (kept.length === 0) {
      throw new FormatError(
        `data: ${data.folder}: no row of ${part} has a token in the loss; prompts alone may fill --max-seq-length`,
        'E_DATA',
      );
    }
    return { kept, counts: lossTokens.filter((_, i) => learnt[i]) };
  };
  const [train, valid] = [left(data.train, 'train'), left(data.valid, 'valid')];
  const test = data.test && left(data.test, 'test').kept;
  const rows = { ...data, train: train.kept, valid: valid.kept, test };
  return {
    dataset,
    job: { ...job, data: rows, train: train.kept },
    lossTokens: { train: train.counts, valid: valid.counts },
  };
}
