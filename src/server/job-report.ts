import { ProtocolError } from '../tensor/index.ts';
import { Tracer } from '../trace/index.ts';
import { type Connection, type JsonObject, sendFile } from '../transport/index.ts';
import type { LossRequest } from './device-loss.ts';
import type { SessionOptions } from './session.ts';
import type { TrainedModel } from './training-job.ts';
import type { TrainingOptions } from './training-options.ts';
import type { TimedEvent } from './training-thread.ts';

/** Trace events in one message. */
const TRACE_EVENTS_PER_MESSAGE = 5_000;

/** Whose events they are, and who else hears of them. */
export interface ReportedJob {
  readonly session: string;
  readonly log: SessionOptions['log'];
  readonly training: TrainingOptions;
  /** A part's states are there, which the device has to answer. */
  onStates(request: LossRequest): void;
  /** The training has come to nothing, and would again. */
  onDiverged(error: ProtocolError): void;
}

/** What a job's training does, told to its device as it happens and summed up at the end. */
export class JobReport {
  readonly tracer = new Tracer('server');
  private readonly connection: Connection;
  private readonly job: ReportedJob;
  private readonly trained: TrainedModel[] = [];
  private batchesReceived = 0;
  private firstEpochSteps = 0;
  private busyMs = 0;
  private readonly busyMsOf = new Map<string, number>();

  constructor(connection: Connection, job: ReportedJob) {
    this.connection = connection;
    this.job = job;
  }

  /** The job goes on from there: milliseconds of each model so far, batches held, steps of epoch 1. */
  begin(busyMs: Readonly<Record<string, number>>, batches: number, steps: number): void {
    for (const [model, ms] of Object.entries(busyMs)) this.busyMsOf.set(model, ms);
    this.busyMs = Object.values(busyMs).reduce((sum, ms) => sum + ms, 0);
    this.batchesReceived = batches;
    this.firstEpochSteps = steps;
  }

  /** A batch of training rows has come. */
  onBatch(): void {
    this.batchesReceived++;
  }

  /** Passes on what the trainer did: small messages, sent as the line takes them. */
  onEvent({ event, startMs, endMs }: TimedEvent): void {
    const ms = endMs - startMs;
    if (event.kind === 'saved') {
      const { batches, step } = event;
      this.tracer.span('save', 'transfer', 'disk', startMs, endMs);
      this.job.log.info({ session: this.job.session, batches, step }, 'job saved');
      this.post({ type: 'saved', batches, step });
      return;
    }
    this.busyMs += ms;
    if (event.kind === 'states') {
      const { kind: _, ...request } = event;
      const { side } = this.job.training;
      this.busyMsOf.set(side, (this.busyMsOf.get(side) ?? 0) + ms);
      this.tracer.span(`${side} states ${request.part}`, 'step', 'training', startMs, endMs);
      this.job.onStates(request);
      return;
    }
    const model = event.kind === 'trained' ? event.trained.name : event.model;
    this.busyMsOf.set(model, (this.busyMsOf.get(model) ?? 0) + ms);
    this.tracer.span(`${model} ${event.kind}`, 'step', 'training', startMs, endMs);
    if (event.kind === 'trained') {
      this.trained.push(event.trained);
      return;
    }
    // Baselines are trained for the table alone; progress follows the job's own side network.
    if (model !== this.job.training.side) return;
    if (event.kind === 'step') {
      if (!Number.isFinite(event.loss) || !Number.isFinite(event.gradNorm)) {
        this.job.onDiverged(
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

  /** Sends the result, what was trained, the trace, and that it is done. */
  async send(end: {
    backend: string;
    cache: { memory: number; spilled: number };
    backendPeakBytes: number;
    /** Where the output head came from, where one was needed. */
    head?: string;
  }): Promise<void> {
    // A baseline that diverged has nothing to compare with; the table goes without it.
    const trained = this.trained.filter(({ validLoss }) => Number.isFinite(validLoss));
    const models = trained.map(({ weights, ...rest }) => ({
      ...rest,
      seconds: (this.busyMsOf.get(rest.name) ?? 0) / 1000,
      bytes: weights.length,
    }));
    const metrics = {
      backend: end.backend,
      busySeconds: this.busyMs / 1000,
      cache: { ...end.cache },
      backendPeakBytes: end.backendPeakBytes,
      ...(end.head !== undefined && { head: end.head }),
      models,
    } satisfies JsonObject;
    this.job.log.info({ session: this.job.session, ...metrics }, 'job trained');
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
