import { z } from 'zod';
import { monotonicMs } from '../platform/clock.ts';
import { ProtocolError } from '../tensor/index.ts';
import {
  type Connection,
  DEFAULT_MAX_FILE,
  decodeHalves,
  type FileMessage,
  FileReceiver,
  type HelloMessage,
  type JobMessage,
} from '../transport/index.ts';
import { BatchAssembly } from './batch-assembly.ts';
import { DeviceAnswers } from './device-answers.ts';
import { JobReport } from './job-report.ts';
import type { JobStateOptions } from './job-state.ts';
import { unknownJob } from './job-store.ts';
import { MOST_TOKENS } from './received-rows.ts';
import type { SessionOptions } from './session.ts';
import type { ReceivedBatch, TrainingJob } from './training-job.ts';
import { type TrainingOptions, trainingOptionsSchema } from './training-options.ts';
import type { TrainingThread } from './training-thread.ts';

/** Whose job it is. */
export interface JobOwner {
  readonly session: string;
  readonly model: HelloMessage['model'];
}

/** One job of a session. */
export class Job {
  private readonly connection: Connection;
  private readonly thread: TrainingThread;
  private readonly message: JobMessage;
  private readonly options: SessionOptions;
  private readonly who: JobOwner;
  private readonly training: TrainingOptions;
  private readonly report: JobReport;
  private cancelled = false;
  /** It can come to nothing, however often it is continued. */
  private hopeless = false;
  /** Where the output head came from, of a language model whose loss is computed here. */
  private headFrom: string | undefined;
  /** Whether the device has been asked for an output head that has not come. */
  private headDue = false;
  /** Of a language model whose labels stay on the device. */
  private readonly answers: DeviceAnswers;
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
    who: JobOwner,
  ) {
    this.connection = connection;
    this.thread = thread;
    this.message = message;
    this.options = options;
    this.who = who;
    this.training = parseTraining(message.training);
    this.report = new JobReport(connection, {
      ...{ session: who.session, log: options.log, training: this.training },
      onStates: (request) => this.answers.ask(request),
      onDiverged: (error) => {
        this.hopeless = true;
        this.fail(error);
      },
    });
    this.answers = new DeviceAnswers(
      ...([connection, this.report.tracer] as const),
      (answer) => thread.answer(answer),
      (error) => this.fail(error),
    );
    this.givenUp = this.waitForEnd();
    // A fault before the job runs is reported by what runs into it.
    this.givenUp.catch(() => {});
    if (message.rows.train < 1 || message.rows.valid < 1) {
      throw new ProtocolError(
        `job: ${message.rows.train} training and ${message.rows.valid} validation rows; both take at least one`,
        'E_JOB',
      );
    }
    const { task } = message;
    if (task.kind === 'lm' && !task.head) checkDeviceLabels(task.maxTokens, this.training);
    if (task.kind === 'lm' && task.head && task.head.bytes > DEFAULT_MAX_FILE) {
      throw new ProtocolError(
        `job: an output head of ${task.head.bytes} bytes; ${DEFAULT_MAX_FILE} are the most`,
        'E_JOB',
      );
    }
  }

  /** Runs the job to its end, or as far as the device stays; keeps it where the server keeps jobs. */
  async run(): Promise<void> {
    const { connection, message, options } = this;
    const { id, resume } = message;
    const { store } = options;
    if (!store) {
      if (resume) throw unknownJob(id);
      return this.train(undefined);
    }
    const { session, model } = this.who;
    const { backend } = this.thread;
    const lease = await store.take(model, message, backend, () =>
      connection.fail('E_JOB', `job ${id}: it goes on over another connection`),
    );
    if (lease.backend !== backend) {
      const text = 'another backend goes on with the job: its last digits will be others';
      options.log.warn({ session, job: id, begun: lease.backend, backend }, text);
    }
    try {
      await this.train({ folder: lease.folder, saveEvery: message.saveEvery });
    } finally {
      await lease.release();
      if (this.hopeless) await store.forget(id);
    }
  }

  private async train(kept: JobStateOptions | undefined): Promise<void> {
    const { rows, id, resume } = this.message;
    const { log } = this.options;
    const { session } = this.who;
    const before = await this.thread.start(this.trainingJob(), kept);
    const { batches, step } = before;
    const { batchSize } = this.training;
    this.report.begin(
      before.busyMs,
      Math.ceil(before.rows.train / batchSize),
      Math.min(step, Math.ceil(rows.train / batchSize)),
    );
    const assembly = new BatchAssembly(this.message, batchSize, before);
    const { taps, codec } = this.message;
    log.info(
      {
        ...{ session, rows, taps, bits: codec.bits, training: this.training },
        ...(kept ? { job: id, batches, step } : {}),
      },
      resume ? 'job resumed' : 'job accepted',
    );
    const resumable = kept !== undefined;
    const sendHead = !(await this.findHead());
    this.headDue = sendHead;
    await this.connection.send({
      ...{ type: 'accept', jobId: 1, resumable, batches, step },
      ...(sendHead && { sendHead }),
    });
    const training = this.thread.run((event) => this.report.onEvent(event));
    const noMore = () => this.answers.end();
    training.then(noMore, noMore);
    const feeding = this.feed(assembly);
    try {
      // Whatever fails or ends first ends the job: a fault in training does not wait for the
      // device's rows, and nobody trains for a device that is gone.
      const trained = await Promise.race([
        Promise.all([training, feeding]).then(([end]) => end),
        this.diverged,
        this.givenUp,
      ]);
      if (trained) {
        await this.report.send({ ...trained, head: this.headFrom });
        return;
      }
      log.info({ session, kept: resumable }, this.cancelled ? 'job cancelled' : 'job abandoned');
    } finally {
      training.catch(() => {});
      feeding.catch(() => {});
      // Saves the job where it is kept, and frees the cache; a thread that has died cannot, and its
      // death is what failed the job.
      await this.thread.cancel().catch((error: Error) => {
        if (kept) log.warn({ session, job: id }, `not saved: ${error.message}`);
      });
    }
    await feeding;
    // A device that cancels often leaves without waiting for this.
    await this.connection.send({ type: 'done' }).catch(() => {});
  }

  /** Whether the head that the job needs is here, or none is needed. */
  private async findHead(): Promise<boolean> {
    const { task } = this.message;
    if (task.kind !== 'lm' || !task.head) return true;
    const found = await this.options.heads?.get(task.head.sha256, this.who.model);
    if (found) await this.takeOver(found.bytes, found.from);
    return found !== undefined;
  }

  /** Takes a piece of the device's output head. @throws ProtocolError (E_JOB) for another file */
  private async takeHead(message: FileMessage, receiver: FileReceiver): Promise<void> {
    const { task } = this.message;
    const file = await receiver.add(message);
    if (!file) return;
    this.headDue = false;
    if (task.kind !== 'lm' || !task.head || message.sha256 !== task.head.sha256) {
      throw new ProtocolError(`job: file ${file.name} is not the output head of the job`, 'E_JOB');
    }
    await this.options.heads?.put(task.head.sha256, file.bytes);
    await this.takeOver(file.bytes, 'the device');
  }

  private async takeOver(bytes: Uint8Array, from: string): Promise<void> {
    this.headFrom = from;
    this.options.log.info({ session: this.who.session, from, bytes: bytes.length }, 'output head');
    await this.thread.useHead(bytes);
  }

  private trainingJob(): TrainingJob {
    const { taps, task, codec, rows } = this.message;
    const { cacheLimit, spillDir } = this.options;
    const channels = taps.layers.length * taps.kinds.length * taps.width;
    const classes = task.kind === 'classification' ? task.classes : 0;
    return {
      shape: {
        layers: taps.layers.length,
        width: taps.width,
        kinds: taps.kinds.length,
        classes: { classification: classes, regression: 1, lm: 0 }[task.kind],
      },
      codec: {
        bits: codec.bits,
        calibration: {
          mean: decodeHalves(codec.mean, channels),
          scale: decodeHalves(codec.scale, channels),
        },
      },
      task: task.kind,
      ...(task.kind === 'lm' && { vocab: task.vocab, labelsOnDevice: !task.head }),
      rows,
      options: this.training,
      cacheLimit,
      spillDir,
    };
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
  private async feed(assembly: BatchAssembly): Promise<void> {
    const { task } = this.message;
    const head = new FileReceiver(task.kind === 'lm' ? (task.head?.bytes ?? 0) : 0);
    for (;;) {
      const message = await this.connection.receive();
      switch (message?.type) {
        case 'file':
          await this.takeHead(message, head);
          break;
        case 'grads':
          await this.answers.take(message);
          break;
        case 'taps':
          assembly.takeTile(message);
          break;
        case 'batch':
          await this.cache(message.batch, assembly.takeBatch(message));
          break;
        case 'finish':
          // A CANCEL behind it has already dropped rows before it.
          if (this.cancelled) return;
          assembly.checkComplete(message.rows);
          // The training would wait for it without end.
          if (this.headDue) throw new ProtocolError('job: the device sent no output head', 'E_JOB');
          return this.answers.takeAll();
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

  private async cache(number: number, batch: ReceivedBatch): Promise<void> {
    if (batch.split === 'train') this.report.onBatch();
    const startMs = monotonicMs();
    await this.thread.receive(batch);
    const name = `cache ${batch.split} ${number}`;
    const bytes = batch.taps.reduce((sum, layer) => sum + layer.length, 0);
    this.report.tracer.span(name, 'transfer', 'socket', startMs, monotonicMs(), { bytes });
  }
}

/** @throws ProtocolError (E_JOB) for what takes labels here */
function checkDeviceLabels(maxTokens: number, { refit }: TrainingOptions): void {
  if (refit) {
    throw new ProtocolError(
      'job: refit trains on validation rows, whose labels stay on the device; use --no-refit',
      'E_JOB',
    );
  }
  if (maxTokens > MOST_TOKENS) {
    throw new ProtocolError(
      `job: rows of ${maxTokens} tokens; ${MOST_TOKENS} are the most where labels stay on the device`,
      'E_JOB',
    );
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
