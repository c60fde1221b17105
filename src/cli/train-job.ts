import { type Dataset, epochBatches, type Sample } from '../data/index.ts';
import {
  greet,
  type JobOutcome,
  type JobProgress,
  type JobSpec,
  type LabelledRow,
  runJob,
  type TapPlan,
  type TimedBatch,
} from '../device/index.ts';
import { monotonicMs } from '../platform/clock.ts';
import { checkWritable } from '../platform/node.ts';
import type { ActivationBits } from '../quant/index.ts';
import type { TrainingOptions } from '../server/index.ts';
import { ProtocolError, UsageError } from '../tensor/errors.ts';
import { covered, overlap, Tracer } from '../trace/index.ts';
import type { Connection } from '../transport/index.ts';
import { connectWs } from '../transport/ws-node.ts';
import { adapterConfig, modelRunSchema, type TrainedRun } from './adapter-config.ts';
import { type SavedAdapter, writeAdapterFolder } from './adapter-folder.ts';
import type { ConfigValue } from './config-file.ts';
import { type DataReport, renderData } from './data-report.ts';
import type { DeviceThread } from './device-thread.ts';
import {
  baselineScores,
  encodeRows,
  measureAdapter,
  type Scores,
  scoreRows,
  sentLabels,
} from './evaluate.ts';
import { brokenOffJob, JobKeeper, type KeepFlags, withAdvice } from './kept-job.ts';
import { loadDevice } from './load-device.ts';
import { measuredKinds } from './memory-kinds.ts';
import type { PlannedLm } from './memory-plan.ts';
import { jobIdentity } from './partial-job.ts';
import { type JobFlags, type PreparedJob, planJob, prepareJob, surveyJob } from './prepare-job.ts';
import type { TrainReport } from './report.ts';
import { TrainProgress } from './train-progress.ts';
import {
  checkLabels,
  checkRows,
  type LabelPlace,
  resolvedTraining,
  type TrainingFlags,
  trainingOptions,
} from './training-flags.ts';
import { VERSION } from './version.ts';

/** Baselines trained beside the side network. */
export const BASELINES = ['probe', 'mix'] as const;

/** How long leaving may take where the server has stopped reading, in ms. */
const HANG_UP_MS = 1_000;

/** The flags of `mobillm train`. */
export interface TrainFlags extends JobFlags, TrainingFlags, KeepFlags {
  readonly token?: string;
  readonly baselines: boolean;
  readonly labels: LabelPlace;
  readonly randomBackbone?: boolean;
  readonly trace?: string;
  readonly json?: boolean;
}

/**
 * A whole training job from the device's side: data, model, server, adapter, evaluation.
 * @param config words the flags as a file that runs the job again; given what was chosen for them
 * @returns the report, and the trace as the text of its file
 * @throws typed errors of every part; nothing is written unless all went well
 */
export async function train(
  flags: TrainFlags,
  signal: AbortSignal,
  config: (resolved: Record<string, ConfigValue>) => string,
): Promise<{ report: TrainReport; trace: string }> {
  const started = performance.now();
  const quiet = flags.json === true;
  // What can be known to fail is known before anything takes time.
  await checkFlags(flags);
  const before = await brokenOffJob(flags);
  const read = await prepareJob(flags, { quiet, signal });
  const { template, modelPath } = read;
  const { task, validFromTrain } = read.data;
  checkLabels(flags.labels, task);
  const baselinesOf = flags.baselines ? BASELINES : [];
  const options = trainingOptions(flags, baselinesOf, validFromTrain, task);
  checkRows(options, { train: read.data.train.length, valid: read.data.valid.length });
  const connection = await connectWs(flags.server, { token: flags.token, signal });
  const cancel = () => {
    connection.send({ type: 'cancel', reason: 'interrupted' }).catch(() => {});
    void hangUp(connection);
  };
  signal.addEventListener('abort', cancel, { once: true });
  let device: DeviceThread | undefined;
  let progress: TrainProgress | undefined;
  try {
    device = await loadDevice(
      {
        ...flags,
        ...{ model: modelPath, batchSize: options.batchSize, connected: true },
        ...(task === 'lm' && { lm: plannedLm(flags, read, options) }),
      },
      { quiet, signal, randomSeed: flags.randomBackbone ? flags.seed : undefined },
    );
    const welcome = await greet(connection, {
      software: `mobillm ${VERSION}`,
      ...device.info,
    });
    const plan = planJob(flags, read, device.info);
    const { prefixTokens } = await device.usePlan(plan);
    const loaded = device;
    const { dataset, job: prepared } = await surveyJob(read, (samples) =>
      loaded.survey(samples, plan),
    );
    const { data } = prepared;
    if (!quiet) process.stderr.write(`${renderData(dataset, plan.maxSeqLength)}\n`);
    const tracer = new Tracer('device');
    progress = new TrainProgress({
      quiet,
      options,
      rows: prepared.train.length,
      server: welcome.backend,
      task,
    });
    const rows = sentRows(options, prepared);
    const kept = flags.labels === 'device';
    const identity = jobIdentity(device.info, flags.deviceBackend, rows, plan, {
      ...options,
      ...(kept && { labels: flags.labels }),
    });
    const keeper = new JobKeeper(flags, before, identity, !quiet);
    if (keeper.dropped) await connection.send({ type: 'forget', id: keeper.dropped });
    const lm = plan.lm && {
      vocab: device.info.vocabSize,
      ...(!kept && { head: await device.outputHead() }),
    };
    const job = { flags, data, dataset, plan, rows, lm, keeper, options, tracer, progress };
    const outcome = await runRows(connection, device, job);

    const { target } = prepared;
    const run: TrainedRun = { model: flags.model, plan, target, options, info: device.info };
    const { adapter, baselines, report } = await sumUp(run, job, outcome, device, prefixTokens);
    signal.throwIfAborted();
    const { layers } = plan;
    await writeAdapterFolder(flags.adapterPath, adapter, baselines, {
      'config.yaml': config({
        // The model's chat template is not ours to write down.
        ...(plan.lm && (plan.lm.chat || plan.lm.shape === 'text') ? {} : { template }),
        ...{ layers, task, ...resolvedTraining(options) },
      }),
    });
    // Only now nobody will come back for the job.
    await keeper.done();
    if (keeper.kept) {
      await connection.send({ type: 'forget', id: keeper.keep.id }).catch(() => {});
    }
    await hangUp(connection);
    const wall = (performance.now() - started) / 1000;
    return {
      report: { ...report, seconds: { ...report.seconds, wall } },
      trace: tracer.toJson(),
    };
  } catch (error) {
    throw await withAdvice(error, flags.adapterPath);
  } finally {
    signal.removeEventListener('abort', cancel);
    progress?.done();
    await device?.close();
    await hangUp(connection);
  }
}

/** What memory a language model's job takes, beside its batches. */
function plannedLm(
  { layers, activationBits, labels }: TrainFlags,
  { data, ...model }: PreparedJob,
  options: TrainingOptions,
): PlannedLm {
  return {
    layers: layers(model.layers).length,
    bits: Number(activationBits) as ActivationBits,
    ...{ sendsHead: labels === 'server', labelLoss: labels === 'device' },
    ...(data.test && { scored: options }),
  };
}

/** Fails over flags that need neither data nor model nor server to be known as wrong. */
async function checkFlags(flags: TrainFlags): Promise<void> {
  if (!/^wss?:\/\/[^/]/.test(flags.server) || !URL.canParse(flags.server)) {
    throw new UsageError(`--server: ${flags.server} is no address such as ws://HOST:8765`);
  }
  await checkWritable('--adapter-path', flags.adapterPath, 'folder');
  if (flags.trace) await checkWritable('--trace', flags.trace, 'file');
}

/** Ends the connection in order, or at once where the server has stopped reading. */
async function hangUp(connection: Connection): Promise<void> {
  const timer = setTimeout(() => connection.fail('E_CANCELLED', 'interrupted'), HANG_UP_MS);
  await connection.close().catch(() => {});
  clearTimeout(timer);
}

/** The rows in the order in which they are sent. */
function sentRows(
  { batchSize, seed }: TrainingOptions,
  { data, train, target }: PreparedJob,
): Record<'train' | 'valid', LabelledRow[]> {
  const labelled = (samples: readonly Sample[]): LabelledRow[] =>
    data.task === 'lm'
      ? samples.map((sample, id) => ({ id, sample, label: 0 }))
      : sentLabels(samples, data.labels, target).map((label, id) => ({
          ...{ id, label },
          sample: samples[id],
        }));
  const rows = labelled(train);
  const order = epochBatches({ count: rows.length, batchSize, seed, epoch: 0 }).flat();
  return { train: order.map((i) => rows[i]), valid: labelled(data.valid) };
}

interface RowsJob {
  readonly flags: TrainFlags;
  readonly data: Dataset;
  readonly dataset: DataReport;
  readonly plan: TapPlan;
  readonly rows: Readonly<Record<'train' | 'valid', readonly LabelledRow[]>>;
  readonly lm: JobSpec['lm'];
  readonly keeper: JobKeeper;
  readonly options: TrainingOptions;
  readonly tracer: Tracer;
  readonly progress: JobProgress & Pick<TrainProgress, 'onTestBatch' | 'onScored'>;
}

/** Sends the rows; computes the test rows' taps while the server goes on with later epochs. */
async function runRows(
  connection: Connection,
  device: DeviceThread,
  job: RowsJob,
): Promise<JobOutcome & { test: TimedBatch[] }> {
  const { data, plan, rows, lm, keeper, options, tracer, progress } = job;
  const { batchSize } = options;
  let test: TimedBatch[] = [];
  const outcome = await runJob(
    connection,
    device,
    {
      plan,
      width: device.info.hiddenSize,
      ...rows,
      ...(lm && { lm }),
      training: options,
      keep: keeper.keep,
    },
    tracer,
    { ...progress, onAccepted: keeper.onAccepted, onSaved: keeper.onSaved },
    async () => {
      // A language model's are scored once its adapter is there, in one pass.
      const samples = plan.lm ? [] : (data.test ?? []);
      test = await encodeRows(device, samples, batchSize, (batch, done) => {
        const name = `forward test ${done}`;
        tracer.span(name, 'compute', 'compute', batch.startMs, batch.endMs, {
          tokens: batch.tokens,
        });
        progress.onTestBatch(done, samples.length);
      });
    },
  );
  return { ...outcome, test };
}

/** Evaluates every trained model on the test rows and puts together what is written and printed. */
async function sumUp(
  run: TrainedRun,
  { flags, data, dataset, rows, tracer, progress }: RowsJob,
  outcome: JobOutcome & { test: TimedBatch[] },
  device: DeviceThread,
  prefixTokens: number,
): Promise<{
  adapter: SavedAdapter;
  baselines: ReadonlyMap<string, SavedAdapter>;
  report: TrainReport;
}> {
  const { options } = run;
  const parsed = modelRunSchema.safeParse(outcome.metrics);
  if (!parsed.success) {
    throw new ProtocolError(
      `the server's result cannot be read: ${parsed.error.issues[0]?.message}`,
    );
  }
  const server = parsed.data;
  const tests = data.test ?? [];
  const outputs = { labels: data.labels, target: run.target };
  const lm = run.plan.lm !== undefined;
  let scored = { computed: 0, truncated: 0 };
  const saved = new Map<string, SavedAdapter>();
  const scores = new Map<string, Scores>();
  for (const model of server.models) {
    const weights = outcome.files.get(`${model.name}.safetensors`);
    if (!weights) throw new ProtocolError(`the server sent no weights of ${model.name}`);
    const adapter = { config: adapterConfig(run, model, undefined), weights };
    await device.loadAdapter(model.name, adapter);
    if (lm && tests.length > 0) {
      const startMs = monotonicMs();
      const started = performance.now();
      const onScored = (done: number) => progress.onScored(done, tests.length, started);
      onScored(0);
      const { scores: score, ...counts } = await scoreRows(
        ...([device, model.name, tests, options.batchSize] as const),
        onScored,
      );
      tracer.span('score test', 'compute', 'compute', startMs, monotonicMs());
      scored = counts;
      scores.set(model.name, score);
    } else if (tests.length > 0) {
      const measured = await measureAdapter(device, model.name, outcome.test, tests, outputs);
      scores.set(model.name, measured.scores);
    }
    const config = adapterConfig(run, model, scores.get(model.name));
    saved.set(model.name, { config, weights });
  }
  const main = saved.get(options.side);
  if (!main) throw new ProtocolError(`the server trained no ${options.side} network`);
  saved.delete(options.side);

  const compute = tracer.intervals('compute', 'device');
  const steps = tracer.intervals('step', 'server');
  const memory = await device.memory();
  const peakRss = process.resourceUsage().maxRSS * 1024;
  const testTokens = outcome.test.reduce((n, batch) => n + batch.tokens, scored.computed);
  const deviceSeconds = covered(compute) / 1000;
  const testTruncated = outcome.test.reduce((n, batch) => n + batch.truncated, scored.truncated);
  const tested = (name: string) => {
    const score = scores.get(name);
    return score && 'accuracy' in score ? score.accuracy : null;
  };
  const before = tests.length > 0 && !lm ? baselineScores(data.train, tests, outputs) : null;
  const report: TrainReport = {
    model: flags.model,
    data: data.folder,
    method: options.side,
    dataset,
    rows: { train: rows.train.length, valid: data.valid.length, test: tests.length },
    accuracy: {
      majority: before && 'accuracy' in before ? before.accuracy : null,
      probe: tested('probe'),
      mix: tested('mix'),
      side: tested(options.side),
    },
    task: data.task,
    before,
    test: Object.fromEntries(scores),
    validation: Object.fromEntries(server.models.map((m) => [m.name, m.validAccuracy])),
    seconds: {
      wall: 0,
      device: deviceSeconds,
      server: covered(steps) / 1000,
      hidden: overlap(steps, compute) / 1000,
    },
    bytes: outcome.bytes,
    labels: flags.labels,
    exchange: outcome.exchange ?? null,
    outputHead: server.head ?? null,
    memory: {
      devicePeakRss: peakRss,
      accounted: memory.peakBytes,
      kinds: measuredKinds(memory, peakRss),
    },
    tokens: {
      computed: outcome.tokens + testTokens,
      prefix: prefixTokens,
      // Of the backbone: a loss that is computed here takes its own time.
      perSecond:
        (outcome.tokens + testTokens) / (deviceSeconds - (outcome.exchange?.computeMs ?? 0) / 1000),
      truncatedSamples: outcome.truncated + testTruncated,
    },
    kernels: device.info.kernels,
    deviceBackend: device.info.backend,
    serverBackend: server.backend,
    server: { cache: server.cache, models: server.models },
    randomBackbone: flags.randomBackbone === true,
    adapterPath: flags.adapterPath,
  };
  return { adapter: main, baselines: saved, report };
}
