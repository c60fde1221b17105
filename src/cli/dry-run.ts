import Table from 'cli-table3';
import { epochBatches, type Sample } from '../data/index.ts';
import {
  checkLayers,
  type ExchangeEstimate,
  estimateExchange,
  estimateTraffic,
  prefixIds,
  shapeOfPlan,
  surveyTokens,
  type TrafficEstimate,
  wordSample,
} from '../device/index.ts';
import { createSideModel, type SideShape, sampleBytes } from '../model/index.ts';
import type { TrainingOptions } from '../server/index.ts';
import { cpuBackend, disposeTree, leaves, random } from '../tensor/index.ts';
import { type DataReport, renderData } from './data-report.ts';
import { sentLabels } from './evaluate.ts';
import { deviceThreads } from './load-device.ts';
import { type MemoryKinds, renderKinds, totalOf } from './memory-kinds.ts';
import { planMemory } from './memory-plan.ts';
import { openModelPath } from './model-files.ts';
import { type JobFlags, planJob, prepareJob, type SurveyedJob, surveyJob } from './prepare-job.ts';
import { formatBytes } from './progress.ts';
import { BASELINES } from './train-job.ts';
import {
  checkLabels,
  checkRows,
  type LabelPlace,
  type TrainingFlags,
  trainingOptions,
} from './training-flags.ts';

/** What a training job would do and take, worked out without running the model or a server. */
export interface DryRun {
  readonly dryRun: true;
  readonly model: string;
  readonly data: string;
  readonly dataset: DataReport;
  readonly plan: {
    readonly template: string;
    readonly prefixTokens: number;
    readonly layers: readonly number[];
    readonly taps: readonly string[];
    readonly activationBits: number;
    readonly maxSeqLength: number;
  };
  readonly training: TrainingOptions;
  readonly steps: {
    /** Batches of an epoch, each a step. */
    readonly perEpoch: number;
    /** Of the side network over all epochs. */
    readonly total: number;
    /** More at the most, where a last training on all rows follows. */
    readonly refitAtMost: number;
  };
  /** Every model that is trained, the side network first. */
  readonly models: readonly { readonly name: string; readonly parameters: number }[];
  /** Bytes. */
  readonly traffic: {
    readonly up: TrafficEstimate;
    readonly downAbout: number;
    /** More of both, where a language model's labels stay on the device. */
    readonly exchange: ExchangeEstimate | null;
  };
  /** Bytes. */
  readonly memory: {
    /** Of the device's process while the widest batch runs. */
    readonly device: MemoryKinds;
    /** Activations that the server keeps, in few bits. */
    readonly serverCache: number;
  };
}

/** Bytes of a STEP message with its frame, about; the side network's steps are told one by one. */
const MESSAGE_BYTES = 170;

/** Bytes of a step in the server's trace, about; the baselines' steps stand there, too. */
const TRACE_BYTES = 140;

/**
 * Works out what `mobillm train` with these flags would do. Tokens are counted and every check
 * that needs no server is made; the model's weights are not read.
 * @throws what training would throw before its first batch
 */
export async function dryRun(
  flags: JobFlags & TrainingFlags & { readonly baselines: boolean; readonly labels: LabelPlace },
  options: { quiet: boolean; signal?: AbortSignal },
): Promise<DryRun> {
  const read = await prepareJob(flags, options);
  checkLabels(flags.labels, read.data.task);
  const labelsOnDevice = flags.labels === 'device';
  const { model, close } = await openModelPath(read.modelPath);
  try {
    const { config, tokenizer, dialogue } = model;
    const { chatTemplate } = dialogue;
    const found = { layers: config.numHiddenLayers, chat: chatTemplate !== undefined };
    const plan = planJob(flags, read, found);
    checkLayers(plan, config.numHiddenLayers);
    const surveyed = await surveyJob(read, (samples) =>
      surveyTokens(tokenizer, samples, plan, chatTemplate),
    );
    const { dataset, job, lossTokens } = surveyed;
    const { data } = job;
    const prefixTokens = prefixIds(tokenizer, plan, chatTemplate).length;
    const baselines = flags.baselines ? BASELINES : [];
    const training = trainingOptions(flags, baselines, data.validFromTrain, data.task);
    checkRows(training, { train: job.train.length, valid: data.valid.length });
    const values = (rows: readonly Sample[]) =>
      plan.lm ? rows.map(() => 0) : sentLabels(rows, data.labels, job.target);
    const { batchSize, epochs } = training;
    // A solved head makes no steps.
    const perEpoch = training.side === 'kernel' ? 0 : Math.ceil(job.train.length / batchSize);
    const all = job.train.length + data.valid.length;
    const refitAtMost = training.refit && perEpoch > 0 ? Math.ceil(all / batchSize) * epochs : 0;
    const shape = shapeOfPlan(plan, config.hiddenSize);
    const models = [training.side, ...training.baselines].map((name) => ({
      name,
      parameters: countParameters(name, shape, training),
    }));
    const lengths = job.train.map(
      (row) => wordSample(tokenizer, row, plan, chatTemplate).ids.length,
    );
    const batches = epochBatches({
      ...{ count: job.train.length, batchSize, seed: training.seed, epoch: 0 },
    });
    const tokensOf = (rows: readonly number[]) => rows.reduce((sum, n) => sum + n, 0);
    const widest = batches
      .map((rows) => Array.from(rows, (i) => lengths[i]))
      .reduce((most, rows) => (tokensOf(rows) > tokensOf(most) ? rows : most));
    const channels = shape.layers * shape.kinds * shape.width;
    return {
      dryRun: true,
      model: flags.model,
      data: data.folder,
      dataset,
      plan: {
        template: plan.template,
        prefixTokens,
        layers: plan.layers,
        taps: plan.kinds,
        activationBits: plan.bits,
        maxSeqLength: plan.maxSeqLength,
      },
      training,
      steps: {
        perEpoch,
        total: perEpoch * epochs,
        refitAtMost,
      },
      models,
      traffic: {
        up: estimateTraffic(
          plan,
          config.hiddenSize,
          batchSize,
          { train: values(job.train), valid: values(data.valid) },
          lossTokens && { counts: lossTokens, vocab: config.vocabSize, labelsOnDevice },
        ),
        exchange:
          lossTokens && labelsOnDevice
            ? estimateExchange(lossTokens, config.hiddenSize, epochs)
            : null,
        downAbout:
          models.reduce((n, { parameters }) => n + 4 * (parameters + 4 * channels), 0) +
          (MESSAGE_BYTES + TRACE_BYTES * models.length) * (perEpoch * epochs + refitAtMost),
      },
      memory: {
        device: await planMemory(model, {
          precision: flags.precision,
          weights: flags.weights,
          threads: deviceThreads(flags),
          connected: true,
          lengths: widest,
          prefixTokens,
          ...(lossTokens && {
            lm: {
              ...{ layers: shape.layers, bits: plan.bits },
              ...{ sendsHead: !labelsOnDevice, labelLoss: labelsOnDevice },
              lossTokens: Math.max(
                ...batches.map((rows) => tokensOf(Array.from(rows, (i) => lossTokens.train[i]))),
              ),
              ...(data.test && { scored: training }),
            },
          }),
        }),
        serverCache: rowsSent(all, lossTokens) * sampleBytes(shape, plan.bits),
      },
    };
  } finally {
    await close();
  }
}

/** Rows of activations that are kept: a sample's, or its tokens'. */
function rowsSent(samples: number, lossTokens: SurveyedJob['lossTokens']): number {
  if (!lossTokens) return samples;
  return [...lossTokens.train, ...lossTokens.valid].reduce((sum, tokens) => sum + tokens, 0);
}

function countParameters(
  name: TrainingOptions['side'],
  shape: SideShape,
  training: TrainingOptions,
): number {
  const params = createSideModel(name, shape, training).init(random(0), cpuBackend());
  const count = leaves(params).reduce((n, leaf) => n + leaf.numel, 0);
  disposeTree(params);
  return count;
}

/** The plan as text for people. */
export function renderDryRun(run: DryRun): string {
  const { plan, training, steps, traffic, memory } = run;
  const count = (n: number) => n.toLocaleString('en');
  const table = new Table({ style: { head: [], border: [] }, wordWrap: true });
  const sent = Object.entries({ train: run.dataset.train.rows, valid: run.dataset.valid.rows })
    .map(([name, rows]) => `${count(rows)} ${name}`)
    .join(', ');
  const { exchange } = traffic;
  const later = training.epochs > 1 && !exchange ? '; later epochs send nothing' : '';
  const refit = steps.refitAtMost > 0 ? `, then up to ${count(steps.refitAtMost)} on all rows` : '';
  table.push(
    ['model', run.model],
    ['template', JSON.stringify(plan.template)],
    [
      'sent of a sample',
      `${plan.taps.join(' and ')} of layers ${plan.layers.join(' ')}, ${plan.activationBits} bits a value`,
    ],
    ...(plan.prefixTokens > 0
      ? [['examples in front', `${count(plan.prefixTokens)} tokens, run once`]]
      : []),
    [
      'trained',
      run.models
        .map(({ name, parameters }) => `${name} (${count(parameters)} parameters)`)
        .join(', '),
    ],
    [
      'steps',
      steps.perEpoch === 0
        ? 'none: solved at once'
        : `${count(steps.perEpoch)} an epoch of batches of ${training.batchSize}, ${count(steps.total)} over ${training.epochs} epochs${refit}`,
    ],
    [
      'bytes up',
      `${formatBytes(traffic.up.total)} in epoch 1 (${sent}), ${formatBytes(Math.round(traffic.up.perSample))} a sample${later}`,
    ],
    ['bytes down', `about ${formatBytes(traffic.downAbout)}`],
    ...(exchange
      ? [
          [
            'labels on the device',
            `about ${formatBytes(exchange.down)} of states down and ${formatBytes(exchange.up)} of gradients up more, over all epochs; the device has to stay until the end`,
          ],
        ]
      : []),
    [
      'device memory',
      `about ${formatBytes(totalOf(memory.device))}: ${renderKinds(memory.device)}`,
    ],
    ['server cache', formatBytes(memory.serverCache)],
  );
  return `${renderData(run.dataset, plan.maxSeqLength)}\n${table.toString()}\nnothing was run or sent: --dry-run`;
}
