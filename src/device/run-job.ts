import type { WeightPrecision } from '../model/index.ts';
import { ACTIVATION_GROUP_SIZE } from '../quant/index.ts';
import { ProtocolError, UsageError } from '../tensor/index.ts';
import { parseTraceRecord, type Tracer } from '../trace/index.ts';
import {
  type Connection,
  decodeHalves,
  encodeHalves,
  estimateClockOffset,
  FileReceiver,
  type JobMessage,
  type JsonObject,
  PROTOCOL_VERSION,
  sendFile,
  sha256Hex,
  type WelcomeMessage,
} from '../transport/index.ts';
import type {
  CalibrationTables,
  EncodingEngine,
  JobOutcome,
  JobProgress,
  JobSpec,
} from './job-spec.ts';
import { LabelAnswers } from './label-answers.ts';
import { sendRows } from './send-rows.ts';

/** Bytes of files (adapters) the server may have under way to the device. */
const DEVICE_CREDIT_WINDOW = 4 * 1024 * 1024;

/** As good as never: of a job that nobody will come back for. */
const NEVER_SAVE = 2 ** 31;

/** Who the device is, for HELLO. */
export interface DeviceIdentity {
  readonly software: string;
  readonly fingerprint: string;
  readonly architecture: string;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly precision?: WeightPrecision;
}

/**
 * Greets the server.
 * @throws ProtocolError (E_PROTOCOL_VERSION) when it speaks another version, or what broke the line
 */
export async function greet(
  connection: Connection,
  identity: DeviceIdentity,
): Promise<WelcomeMessage> {
  const { software, fingerprint, architecture, hiddenSize, layers, precision } = identity;
  await connection.send({
    type: 'hello',
    software,
    protocol: PROTOCOL_VERSION,
    model: { fingerprint, architecture, hiddenSize, layers, precision },
    capabilities: ['classification', 'regression', 'lm'],
    creditWindow: DEVICE_CREDIT_WINDOW,
  });
  return expect(await connection.receive(), 'welcome');
}

/**
 * The device's side of a training job over a greeted connection: computes batch after batch and
 * sends each while the next is computed, then waits for the adapter. Never waits for a step: the
 * backbone is frozen, so nothing the server does changes what comes next.
 * @param afterRows runs once every row is sent, beside the server's remaining training
 */
export async function runJob(
  connection: Connection,
  engine: EncodingEngine,
  job: JobSpec,
  tracer: Tracer,
  progress: JobProgress = {},
  afterRows?: () => Promise<void>,
): Promise<JobOutcome> {
  const { plan, keep } = job;
  const calibration = keep?.resume ?? (await calibrateOn(engine, job));
  if (keep?.resume) {
    const channels = plan.layers.length * plan.kinds.length * job.width;
    const [mean, scale] = [calibration.mean, calibration.scale].map((t) =>
      decodeHalves(t, channels),
    );
    await engine.useCalibration({ mean, scale });
  }
  await connection.send({
    type: 'job',
    id: keep?.id ?? newJobId(),
    resume: keep?.resume !== undefined,
    saveEvery: keep?.saveEvery ?? NEVER_SAVE,
    task: await taskOf(job),
    taps: { layers: [...plan.layers], kinds: [...plan.kinds], width: job.width },
    codec: {
      bits: plan.bits,
      groupSize: ACTIVATION_GROUP_SIZE,
      ...calibration,
    },
    training: job.training,
    rows: { train: job.train.length, valid: job.valid.length },
  });
  const accepted = expect(await connection.receive(), 'accept');
  await progress.onAccepted?.(accepted, calibration);
  if (accepted.sendHead && job.lm?.head) await sendFile(connection, 'head', job.lm.head);
  const clock = await estimateClockOffset(connection);
  const sender = sendRows(connection, engine, job, accepted.batches, tracer, progress).then(
    async (sent) => {
      await afterRows?.();
      return sent;
    },
  );
  const answers =
    job.lm && !job.lm.head ? labelAnswers(connection, engine, job, tracer, progress) : undefined;
  const receiver = receiveOutcome(connection, tracer, clock.offsetMs, progress, answers);
  const [sent, outcome] = await Promise.all([sender, receiver]);
  return {
    ...sent,
    ...outcome,
    bytes: { up: connection.bytesSent.total, down: connection.bytesReceived.total },
  };
}

/** What the server is told of what labels are. */
async function taskOf({ plan, lm }: JobSpec): Promise<JobMessage['task']> {
  const { labels, maxSeqLength } = plan;
  if (lm) {
    const { head, vocab } = lm;
    const named = head && { sha256: await sha256Hex(head), bytes: head.length };
    return { kind: 'lm', vocab, maxTokens: maxSeqLength, ...(named && { head: named }) };
  }
  if (labels.length === 0) return { kind: 'regression' };
  return { kind: 'classification', classes: labels.length, labels: [...labels] };
}

/** What answers the server's states. @throws UsageError for an engine that computes no losses */
function labelAnswers(
  connection: Connection,
  engine: EncodingEngine,
  { train, valid, width, training }: JobSpec,
  tracer: Tracer,
  { onExchange }: JobProgress,
): LabelAnswers {
  if (!engine.labelLoss) throw new UsageError('job: this device computes no losses');
  const labelLoss = engine.labelLoss.bind(engine);
  const labelSmoothing = Number(training.labelSmoothing ?? 0);
  const rows = { train, valid };
  return new LabelAnswers(connection, {
    labelLoss,
    rows,
    width,
    labelSmoothing,
    tracer,
    onExchange,
  });
}

/** The name of a new job: 128 random bits in hex, which nobody can guess. */
export function newJobId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Calibrates with the first batch, as it will be sent. */
async function calibrateOn(engine: EncodingEngine, job: JobSpec): Promise<CalibrationTables> {
  const first = job.train.slice(0, job.training.batchSize).map((row) => row.sample);
  const { mean, scale } = await engine.calibrate(first);
  return { mean: encodeHalves(mean), scale: encodeHalves(scale) };
}

/** Reads until DONE. */
async function receiveOutcome(
  connection: Connection,
  tracer: Tracer,
  clockOffsetMs: number,
  progress: JobProgress,
  answers: LabelAnswers | undefined,
): Promise<Pick<JobOutcome, 'metrics' | 'files' | 'exchange'>> {
  const files = new Map<string, Uint8Array>();
  const assembling = new FileReceiver();
  let metrics: JsonObject = {};
  for await (const message of connection) {
    switch (message.type) {
      case 'step':
        progress.onStep?.(message);
        break;
      case 'epoch':
        progress.onEpoch?.(message);
        break;
      case 'states':
        if (!answers) throw new ProtocolError('states: the server has the labels', 'E_JOB');
        await answers.take(message);
        break;
      case 'saved':
        progress.onSaved?.(message);
        break;
      case 'result':
        metrics = message.metrics;
        break;
      case 'file': {
        const file = await assembling.add(message);
        if (file) files.set(file.name, file.bytes);
        break;
      }
      case 'trace':
        tracer.merge(
          parseTraceRecord({ process: 'server', spans: message.events, dropped: 0 }),
          clockOffsetMs,
        );
        break;
      case 'done':
        await answers?.sent;
        return { metrics, files, ...(answers && { exchange: answers.exchange }) };
    }
  }
  throw new ProtocolError('the server closed before the job was done', 'E_CLOSED');
}

function expect<T extends 'welcome' | 'accept'>(
  message: { type: string } | undefined,
  type: T,
): Extract<NonNullable<Awaited<ReturnType<Connection['receive']>>>, { type: T }> {
  if (message?.type !== type) {
    throw new ProtocolError(`expected ${type.toUpperCase()}, the server sent ${message?.type}`);
  }
  return message as never;
}
