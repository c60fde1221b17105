import type { Sample } from '../data/index.ts';
import type { ChannelAffine } from '../model/index.ts';
import { monotonicMs } from '../platform/clock.ts';
import { ACTIVATION_GROUP_SIZE } from '../quant/index.ts';
import { ProtocolError, UsageError } from '../tensor/index.ts';
import { parseTraceRecord, type Tracer } from '../trace/index.ts';
import {
  type AcceptMessage,
  type Connection,
  decodeHalves,
  type EpochMessage,
  encodeHalves,
  estimateClockOffset,
  FileReceiver,
  FRAME_HEADER_BYTES,
  type JobMessage,
  type JsonObject,
  PROTOCOL_VERSION,
  type SavedMessage,
  type Split,
  type StepMessage,
  sendFile,
  sha256Hex,
  TAPS_HEADER_BYTES,
  type WelcomeMessage,
} from '../transport/index.ts';
import type { EncodedBatch } from './device-engine.ts';
import { LabelAnswers, type LabelExchange, type TimedLoss } from './label-answers.ts';
import type { LabelLossRequest } from './label-loss.ts';
import type { TapPlan } from './tap-plan.ts';

/** Bytes of activations in one frame: small enough that nothing waits long behind one. */
export const MAX_TILE_BYTES = 1024 * 1024;

/** Bytes of files (adapters) the server may have under way to the device. */
const DEVICE_CREDIT_WINDOW = 4 * 1024 * 1024;

/** As good as never: of a job that nobody will come back for. */
const NEVER_SAVE = 2 ** 31;

/** A batch with the time it was computed in, by `monotonicMs` of this machine. */
export interface TimedBatch extends EncodedBatch {
  readonly startMs: number;
  readonly endMs: number;
}

/** Whatever turns samples into activations: an engine in this thread or one in another. */
export interface EncodingEngine {
  /** Calibrates the codec of all that follows. */
  calibrate(samples: readonly Sample[]): Promise<ChannelAffine> | ChannelAffine;
  /** Encodes all that follows as an earlier start of the job did. */
  useCalibration(calibration: ChannelAffine): Promise<void> | void;
  /** Runs samples through the backbone and encodes what is sent of them. */
  encode(samples: readonly Sample[]): Promise<TimedBatch> | TimedBatch;
  /** Of a language model whose labels stay here: the loss of a server's states, and its gradient. */
  labelLoss?(request: LabelLossRequest): Promise<TimedLoss> | TimedLoss;
}

/** Who the device is, for HELLO. */
export interface DeviceIdentity {
  readonly software: string;
  readonly fingerprint: string;
  readonly architecture: string;
  readonly hiddenSize: number;
  readonly layers: number;
}

/** What is to be trained and on what. Labels are indices into `plan.labels`, standardised numbers, or of a language model nothing. */
export interface JobSpec {
  readonly plan: TapPlan;
  readonly width: number;
  /** Rows in the order in which they are sent. */
  readonly train: readonly LabelledRow[];
  readonly valid: readonly LabelledRow[];
  readonly training: JobMessage['training'];
  /**
   * Of a language model: tokens of its vocabulary, and its output head, for a server that does not
   * have it. Without a head labels stay here, and the engine has `labelLoss`.
   */
  readonly lm?: { readonly vocab: number; readonly head?: Uint8Array };
  /** How it can be continued; without it, it is a job of its own that nobody will come back for. */
  readonly keep?: KeptJob;
}

/** How a job is known to the server, and what to continue it with. */
export interface KeptJob {
  /** From `newJobId`; who knows it may continue the job. */
  readonly id: string;
  /** Steps of the server between two checkpoints. */
  readonly saveEvery: number;
  /** Of the first start, where this is not it. */
  readonly resume?: CalibrationTables;
}

/** A calibration as it travels in JOB. */
export type CalibrationTables = Pick<JobMessage['codec'], 'mean' | 'scale'>;

/** A sample as it is sent: with its number, and the index of its class or its standardised label. */
export interface LabelledRow {
  /** Number of the row within its split. */
  readonly id: number;
  readonly sample: Sample;
  readonly label: number;
}

/** What the job tells while it runs. */
export interface JobProgress {
  /** The server has taken the job on, and says how far it is. Awaited before the first row. */
  onAccepted?(accepted: AcceptMessage, calibration: CalibrationTables): Promise<void> | void;
  /** So much is on the server's disk. */
  onSaved?(saved: SavedMessage): void;
  /** A batch has been computed and handed to the socket. */
  onBatch?(batch: {
    split: Split;
    samplesSent: number;
    samplesTotal: number;
    tokens: number;
    truncated: number;
    deviceMs: number;
    bytesSent: number;
  }): void;
  /** A part of a server's step was answered, whose labels stay here. */
  onExchange?(exchange: LabelExchange): void;
  /** The server made a step of the job's side network. */
  onStep?(step: StepMessage): void;
  /** The server finished an epoch of it. */
  onEpoch?(epoch: EpochMessage): void;
}

/** What a finished job leaves on the device. */
export interface JobOutcome {
  /** RESULT's metrics. */
  readonly metrics: JsonObject;
  /** Adapter files by name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly bytes: { up: number; down: number };
  readonly tokens: number;
  readonly truncated: number;
  /** Where labels stayed here. */
  readonly exchange?: LabelExchange;
}

/**
 * Greets the server.
 * @throws ProtocolError (E_PROTOCOL_VERSION) when it speaks another version, or what broke the line
 */
export async function greet(
  connection: Connection,
  identity: DeviceIdentity,
): Promise<WelcomeMessage> {
  const { software, fingerprint, architecture, hiddenSize, layers } = identity;
  await connection.send({
    type: 'hello',
    software,
    protocol: PROTOCOL_VERSION,
    model: { fingerprint, architecture, hiddenSize, layers },
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

/** Computes and sends all rows but those of the first `held` batches; batch t travels while batch t+1 is computed. */
async function sendRows(
  connection: Connection,
  engine: EncodingEngine,
  job: JobSpec,
  held: number,
  tracer: Tracer,
  progress: JobProgress,
): Promise<{ tokens: number; truncated: number }> {
  const size = job.training.batchSize;
  // Of this start alone: rates and times are those of what is computed now.
  let samplesTotal = job.train.length + job.valid.length;
  let samplesSent = 0;
  let tokens = 0;
  let truncated = 0;
  let number = 0;
  let sending: Promise<void> = Promise.resolve();
  for (const [split, rows] of [
    ['train', job.train],
    ['valid', job.valid],
  ] as const) {
    for (let start = 0; start < rows.length; start += size) {
      const part = rows.slice(start, start + size);
      const id = number++;
      if (id < held) {
        samplesTotal -= part.length;
        continue;
      }
      const batch = await engine.encode(part.map((row) => row.sample));
      const { startMs, endMs } = batch;
      const name = `forward ${split} ${id}`;
      tracer.span(name, 'compute', 'compute', startMs, endMs, { tokens: batch.tokens });
      // One batch may be on its way while the next is computed; a second would only wait there.
      await sending;
      sending = sendBatch(connection, job, split, id, part, batch, tracer).then(() => {
        samplesSent += part.length;
        progress.onBatch?.({
          split,
          samplesSent,
          samplesTotal,
          tokens,
          truncated,
          deviceMs: endMs - startMs,
          bytesSent: connection.bytesSent.total,
        });
      });
      // Seen by the next `await sending`; until then a broken line must not count as unhandled.
      sending.catch(() => {});
      tokens += batch.tokens;
      truncated += batch.truncated;
    }
  }
  await sending;
  await connection.send({
    type: 'finish',
    rows: { train: job.train.length, valid: job.valid.length },
  });
  return { tokens, truncated };
}

/** A frame a layer, or more where rows are many, then the frame that says which rows they were. */
async function sendBatch(
  connection: Connection,
  job: JobSpec,
  split: Split,
  batch: number,
  rows: readonly LabelledRow[],
  encoded: EncodedBatch,
  tracer: Tracer,
): Promise<void> {
  const { plan, width } = job;
  const startMs = monotonicMs();
  const before = connection.bytesSent.total;
  const tap = { type: 'taps', batch, split, kindStart: 0, width, bits: plan.bits } as const;
  const kindCount = plan.kinds.length;
  const { next } = encoded;
  const count = next?.labels.length ?? rows.length;
  const rowBytes = encoded.taps[0].length / count;
  const room = connection.largestDataFrame - FRAME_HEADER_BYTES - TAPS_HEADER_BYTES;
  const tileRows = Math.max(1, Math.floor(Math.min(room, MAX_TILE_BYTES) / rowBytes));
  for (const [index, layer] of plan.layers.entries()) {
    for (let rowStart = 0; rowStart < count; rowStart += tileRows) {
      const rowCount = Math.min(tileRows, count - rowStart);
      const data = encoded.taps[index].subarray(
        rowStart * rowBytes,
        (rowStart + rowCount) * rowBytes,
      );
      await connection.send({ ...tap, layer, kindCount, rowStart, rowCount, data });
    }
  }
  await connection.send({
    type: 'batch',
    batch,
    split,
    rows: rows.map((row) => row.id),
    labels: next ? (job.lm?.head ? [...next.labels] : []) : rows.map((row) => row.label),
    ...(next && { counts: [...next.counts] }),
  });
  const bytes = connection.bytesSent.total - before;
  tracer.span(`send ${split} ${batch}`, 'transfer', 'socket', startMs, monotonicMs(), { bytes });
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
