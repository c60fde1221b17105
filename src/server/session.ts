import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { monotonicMs } from '../platform/clock.ts';
import { encodedLength } from '../quant/index.ts';
import { MobillmError, ProtocolError } from '../tensor/index.ts';
import { Tracer } from '../trace/index.ts';
import {
  type BatchMessage,
  type Connection,
  decodeHalves,
  type JobMessage,
  type JsonObject,
  PROTOCOL_VERSION,
  sendFile,
  type TapsMessage,
} from '../transport/index.ts';
import type { TrainedModel } from './side-trainer.ts';
import { type TrainingOptions, trainingOptionsSchema } from './training-options.ts';
import { type ServerBackend, type TimedEvent, TrainingThread } from './training-thread.ts';

/** Trace events in one message. */
const TRACE_EVENTS_PER_MESSAGE = 5_000;

/** What a server offers to every session. */
export interface SessionOptions {
  readonly software: string;
  readonly backend: ServerBackend;
  /** Bytes of activations one job may hold in memory before they spill to disk. */
  readonly cacheLimit: number;
  readonly spillDir?: string;
  /** Bytes a device may have under way. */
  readonly creditWindow: number;
  readonly log: SessionLog;
}

/** Structured logging, as pino has it. */
export interface SessionLog {
  /** A line about what goes on as it should. */
  info(fields: object, message: string): void;
  /** A line about what went wrong and was dealt with. */
  warn(fields: object, message: string): void;
}

/** Layers of a batch that have come so far, by layer index. */
type Pending = Map<number, Uint8Array>;

/**
 * One device's session: greets it, takes its job, feeds the training thread and sends back what
 * came of it. Returns when the device has left.
 */
export async function runSession(connection: Connection, options: SessionOptions): Promise<void> {
  const { log } = options;
  const session = randomUUID();
  const thread = await TrainingThread.open(options.backend);
  try {
    // A CANCEL of a job that is over comes here, and says nothing new.
    for await (const message of connection) {
      if (message.type === 'hello') {
        log.info({ session, device: message.software, model: message.model }, 'device connected');
        await connection.send({
          type: 'welcome',
          software: options.software,
          protocol: PROTOCOL_VERSION,
          backend: thread.backend,
          sessionId: session,
          creditWindow: options.creditWindow,
        });
      } else if (message.type === 'job') {
        await new Job(connection, thread, message, options, session).run();
      }
    }
    log.info({ session }, 'device left');
  } catch (error) {
    const known = error instanceof MobillmError;
    log.warn({ session, code: known ? error.code : undefined }, (error as Error).message);
    if (known) connection.fail(error.code, error.message);
    else connection.fail('E_SERVER', `the server failed: ${(error as Error).message}`);
  } finally {
    await thread.close();
  }
}

/** One job of a session. */
class Job {
  private readonly connection: Connection;
  private readonly thread: TrainingThread;
  private readonly message: JobMessage;
  private readonly options: SessionOptions;
  private readonly session: string;
  private readonly training: TrainingOptions;
  private readonly tracer = new Tracer('server');
  private readonly pending = new Map<number, Pending>();
  private readonly trained: TrainedModel[] = [];
  private readonly received = { train: 0, valid: 0 };
  private batchesReceived = 0;
  private firstEpochSteps = 0;
  private busyMs = 0;
  private readonly busyMsOf = new Map<string, number>();
  private cancelled = false;
  private readonly givenUp: Promise<undefined>;
  private fail: (error: Error) => void = () => {};
  /** Rejects when a step fails the job. */
  private readonly diverged = new Promise<never>((_, reject) => {
    this.fail = reject;
  });

  constructor(
    connection: Connection,
    thread: TrainingThread,
    message: JobMessage,
    options: SessionOptions,
    session: string,
  ) {
    this.connection = connection;
    this.thread = thread;
    this.message = message;
    this.options = options;
    this.session = session;
    this.training = parseTraining(message.training);
    this.givenUp = this.waitForEnd();
    // A fault before the job runs is reported by what runs into it.
    this.givenUp.catch(() => {});
    if (message.rows.train < 1 || message.rows.valid < 1) {
      throw new ProtocolError(
        `job: ${message.rows.train} training and ${message.rows.valid} validation rows; both take at least one`,
        'E_JOB',
      );
    }
  }

  async run(): Promise<void> {
    const { taps, task, codec, rows } = this.message;
    const { log, cacheLimit, spillDir } = this.options;
    const channels = taps.layers.length * taps.kinds.length * taps.width;
    await this.thread.start({
      shape: {
        layers: taps.layers.length,
        width: taps.width,
        kinds: taps.kinds.length,
        classes: task.classes,
      },
      codec: {
        bits: codec.bits,
        calibration: {
          mean: decodeHalves(codec.mean, channels),
          scale: decodeHalves(codec.scale, channels),
        },
      },
      rows,
      options: this.training,
      cacheLimit,
      spillDir,
    });
    log.info(
      { session: this.session, rows, taps, bits: codec.bits, training: this.training },
      'job accepted',
    );
    await this.connection.send({
      type: 'accept',
      jobId: 1,
      resumable: false,
      batches: 0,
      step: 0,
    });
    const training = this.thread.run((event) => this.onEvent(event));
    const feeding = this.feed();
    try {
      // Whatever fails or ends first ends the job: a fault in training does not wait for the
      // device's rows, and nobody trains for a device that is gone.
      const trained = await Promise.race([
        Promise.all([training, feeding]).then(([end]) => end),
        this.diverged,
        this.givenUp,
      ]);
      if (trained) {
        await this.report(trained);
        return;
      }
      log.info({ session: this.session }, this.cancelled ? 'job cancelled' : 'job abandoned');
    } finally {
      training.catch(() => {});
      feeding.catch(() => {});
      // Frees the cache; a thread that has died cannot, and its death is what failed the job.
      await this.thread.cancel().catch(() => {});
    }
    await feeding;
    // A device that cancels often leaves without waiting for this.
    await this.connection.send({ type: 'done' }).catch(() => {});
  }

  /** Resolves when the device takes the job back, or leaves before its end without a fault. */
  private async waitForEnd(): Promise<undefined> {
    const { connection } = this;
    const cancel = new Promise<undefined>((resolve) => {
      connection.onCancel = () => {
        this.cancelled = true;
        resolve(undefined);
      };
    });
    const error = await Promise.race([cancel, connection.closed]);
    if (error) throw error;
  }

  /** Takes rows until FINISH. */
  private async feed(): Promise<void> {
    for (;;) {
      const message = await this.connection.receive();
      switch (message?.type) {
        case 'taps':
          this.takeTile(message);
          break;
        case 'batch':
          await this.takeBatch(message);
          break;
        case 'finish':
          // A CANCEL behind it has already dropped rows before it.
          if (!this.cancelled) this.checkComplete(message.rows);
          return;
        case 'cancel':
          return;
        default:
          throw new ProtocolError(
            `job: the device ${message ? `sent ${message.type}` : 'left'} in the middle`,
            'E_CLOSED',
          );
      }
    }
  }

  private takeTile(tile: TapsMessage): void {
    const { taps, codec } = this.message;
    const layer = taps.layers.indexOf(tile.layer);
    const whole = tile.kindStart === 0 && tile.kindCount === taps.kinds.length;
    if (layer < 0 || !whole || tile.width !== taps.width || tile.bits !== codec.bits) {
      throw new ProtocolError(
        `taps: layer ${tile.layer}, ${tile.kindCount} kinds from ${tile.kindStart}, ${tile.width} values of ${tile.bits} bits are not what the job said`,
        'E_JOB',
      );
    }
    const layers = this.pending.get(tile.batch) ?? new Map<number, Uint8Array>();
    this.pending.set(tile.batch, layers);
    const before = layers.get(layer);
    const rowBytes = encodedLength(taps.kinds.length, taps.width, codec.bits);
    if ((before?.length ?? 0) !== tile.rowStart * rowBytes) {
      throw new ProtocolError(
        `taps: batch ${tile.batch}, layer ${tile.layer}: tile at row ${tile.rowStart} is out of order`,
        'E_JOB',
      );
    }
    if (!before) {
      layers.set(layer, tile.data);
      return;
    }
    const joined = new Uint8Array(before.length + tile.data.length);
    joined.set(before);
    joined.set(tile.data, before.length);
    layers.set(layer, joined);
  }

  private async takeBatch(batch: BatchMessage): Promise<void> {
    const { taps, task, codec, rows } = this.message;
    const layers = this.pending.get(batch.batch);
    this.pending.delete(batch.batch);
    const bytes = encodedLength(batch.rows.length * taps.kinds.length, taps.width, codec.bits);
    const complete = taps.layers.map((_, index) => layers?.get(index));
    if (!complete.every((data): data is Uint8Array => data?.length === bytes)) {
      throw new ProtocolError(`batch ${batch.batch}: its taps are not complete`, 'E_JOB');
    }
    const label = batch.labels.find((l) => l < 0 || l >= task.classes);
    if (label !== undefined) {
      throw new ProtocolError(
        `batch ${batch.batch}: label ${label} is not below ${task.classes}`,
        'E_JOB',
      );
    }
    const left = rows[batch.split] - this.received[batch.split];
    const due = Math.min(this.training.batchSize, left);
    if (batch.rows.length !== due) {
      throw new ProtocolError(
        `batch ${batch.batch}: ${batch.rows.length} ${batch.split} rows where ${due} were due (batchSize ${this.training.batchSize}, ${left} rows left)`,
        'E_JOB',
      );
    }
    this.received[batch.split] += batch.rows.length;
    if (batch.split === 'train') this.batchesReceived++;
    const startMs = monotonicMs();
    await this.thread.receive({
      split: batch.split,
      rows: batch.rows,
      labels: batch.labels,
      taps: complete,
    });
    const name = `cache ${batch.split} ${batch.batch}`;
    this.tracer.span(name, 'transfer', 'socket', startMs, monotonicMs(), {
      bytes: bytes * complete.length,
    });
  }

  private checkComplete(announced: { train: number; valid: number }): void {
    const { rows } = this.message;
    for (const split of ['train', 'valid'] as const) {
      if (announced[split] !== rows[split] || this.received[split] !== rows[split]) {
        throw new ProtocolError(
          `finish: ${this.received[split]} ${split} rows came, the job said ${rows[split]}`,
          'E_JOB',
        );
      }
    }
  }

  /** Passes on what the trainer did: small messages, sent as the line takes them. */
  private onEvent({ event, startMs, endMs }: TimedEvent): void {
    const ms = endMs - startMs;
    this.busyMs += ms;
    const model = event.kind === 'trained' ? event.trained.name : event.model;
    this.busyMsOf.set(model, (this.busyMsOf.get(model) ?? 0) + ms);
    this.tracer.span(`${model} ${event.kind}`, 'step', 'training', startMs, endMs);
    if (event.kind === 'trained') {
      this.trained.push(event.trained);
      return;
    }
    // Baselines are trained for the table alone; progress follows the job's own side network.
    if (model !== this.training.side) return;
    if (event.kind === 'step') {
      if (!Number.isFinite(event.loss) || !Number.isFinite(event.gradNorm)) {
        this.fail(
          new ProtocolError(
            `training diverged: step ${event.step} has loss ${event.loss} and gradient norm ${event.gradNorm}; use a lower --learning-rate`,
            'E_DIVERGED',
          ),
        );
        return;
      }
      if (event.epoch === 1) this.firstEpochSteps++;
      this.post({
        type: 'step',
        step: event.step,
        epoch: event.epoch,
        batch: event.step - 1,
        loss: event.loss,
        gradNorm: event.gradNorm,
        ms,
        queueDepth: Math.max(0, this.batchesReceived - this.firstEpochSteps),
      });
    } else {
      this.post({
        type: 'epoch',
        epoch: event.epoch,
        trainLoss: event.trainLoss,
        validLoss: event.validLoss,
        validAccuracy: event.validAccuracy,
      });
    }
  }

  private post(message: Parameters<Connection['send']>[0]): void {
    // A line that broke is reported by the loop that reads from it.
    this.connection.send(message).catch(() => {});
  }

  private async report(end: {
    cache: { memory: number; spilled: number };
    backendPeakBytes: number;
  }): Promise<void> {
    // A baseline that diverged has nothing to compare with; the table goes without it.
    const trained = this.trained.filter(({ validLoss }) => Number.isFinite(validLoss));
    const models = trained.map(({ weights, ...rest }) => ({
      ...rest,
      seconds: (this.busyMsOf.get(rest.name) ?? 0) / 1000,
      bytes: weights.length,
    }));
    const metrics = {
      backend: this.thread.backend,
      busySeconds: this.busyMs / 1000,
      cache: { ...end.cache },
      backendPeakBytes: end.backendPeakBytes,
      models,
    } satisfies JsonObject;
    this.options.log.info({ session: this.session, ...metrics }, 'job trained');
    await this.connection.send({ type: 'result', metrics });
    for (const { name, weights } of trained) {
      await sendFile(this.connection, `${name}.safetensors`, weights);
    }
    const { spans } = this.tracer.record();
    for (let start = 0; start < spans.length; start += TRACE_EVENTS_PER_MESSAGE) {
      const events = spans.slice(
        start,
        start + TRACE_EVENTS_PER_MESSAGE,
      ) as unknown as JsonObject[];
      await this.connection.send({ type: 'trace', events });
    }
    await this.connection.send({ type: 'done' });
  }
}

function parseTraining(training: JobMessage['training']): TrainingOptions {
  const parsed = trainingOptionsSchema.safeParse(training);
  if (parsed.success) return parsed.data;
  throw new ProtocolError(
    `job: training: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`,
    'E_JOB',
  );
}
