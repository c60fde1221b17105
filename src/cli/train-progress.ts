import type { Task } from '../data/index.ts';
import type { JobProgress } from '../device/index.ts';
import type { TrainingOptions } from '../server/index.ts';
import { formatBytes, ProgressLine, rateAndEta } from './progress.ts';

/** The one line that follows a training job: what the device does, what the server does. */
export class TrainProgress implements JobProgress {
  private readonly line: ProgressLine;
  private readonly totalSteps: number;
  private readonly epochs: number;
  private readonly lm: boolean;
  private readonly startMs = performance.now();
  private device = 'device: starting';
  private server: string;
  private sent = 0;
  private samplesSent = 0;
  private exchanged = '';

  constructor(job: {
    quiet: boolean;
    options: TrainingOptions;
    rows: number;
    /** What computes on the server. */
    server: string;
    task: Task;
    /** Standard error unless told. */
    out?: NodeJS.WriteStream;
  }) {
    const { quiet, options, rows, out } = job;
    this.lm = job.task === 'lm';
    this.line = new ProgressLine({ silent: quiet, out });
    this.epochs = options.epochs;
    this.totalSteps = Math.ceil(rows / options.batchSize) * options.epochs;
    this.server = `server: ${job.server}`;
  }

  onBatch: JobProgress['onBatch'] = (batch) => {
    const { samplesSent, samplesTotal, deviceMs, bytesSent } = batch;
    const { rate, eta } = rateAndEta(samplesSent, samplesTotal, this.startMs);
    this.sent = bytesSent;
    this.samplesSent = samplesSent;
    this.device = `device: ${samplesSent}/${samplesTotal} samples, ${rate.toFixed(1)}/s, ETA ${eta}, ${deviceMs.toFixed(0)} ms a batch`;
    this.show();
  };

  onExchange: JobProgress['onExchange'] = ({ parts, bytes }) => {
    this.exchanged = ` | loss here: ${parts} parts, ${formatBytes(bytes.down)} of states down, ${formatBytes(bytes.up)} of gradients up`;
    this.show();
  };

  onStep: JobProgress['onStep'] = (step) => {
    const epoch =
      step.epoch > this.epochs
        ? `all rows, epoch ${step.epoch - this.epochs}, step ${step.step - this.totalSteps}`
        : `epoch ${step.epoch}/${this.epochs}, step ${step.step}/${this.totalSteps}`;
    this.server = `server: ${epoch}, loss ${step.loss.toFixed(3)}, ${step.ms.toFixed(0)} ms`;
    this.show();
  };

  onEpoch: JobProgress['onEpoch'] = (epoch) => {
    const { validAccuracy, validLoss } = epoch;
    if (validLoss === null) return;
    const validation =
      validAccuracy === null
        ? `loss ${validLoss.toFixed(3)}${this.lm ? `, perplexity ${Math.exp(validLoss).toFixed(2)}` : ''}`
        : `${(100 * validAccuracy).toFixed(1)}%`;
    this.server = `server: epoch ${epoch.epoch}/${this.epochs}, loss ${epoch.trainLoss.toFixed(3)}, validation ${validation}`;
    this.show();
  };

  /** The device is past the rows it sends and runs the test rows. */
  onTestBatch(done: number, total: number): void {
    // The rate is that of all rows so far: these take as long as those.
    const { eta } = rateAndEta(this.samplesSent + done, this.samplesSent + total, this.startMs);
    this.device =
      done < total
        ? `device: test rows ${done}/${total}, ETA ${eta}`
        : 'device: done, waiting for the server';
    this.show();
  }

  /** The device scores a language model's test rows with what came back, since `startMs`. */
  onScored(done: number, total: number, startMs: number): void {
    const { rate, eta } = rateAndEta(done, total, startMs);
    this.device = `device: perplexity of ${done}/${total} test rows, ${rate.toFixed(1)}/s, ETA ${eta}`;
    this.show();
  }

  done(): void {
    this.line.done();
  }

  private show(): void {
    this.line.update(
      () => `${this.device} | sent ${formatBytes(this.sent)}${this.exchanged} | ${this.server}`,
    );
  }
}
