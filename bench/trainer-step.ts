// The step of the server's trainer as a job makes it: rows out of its cache, still in few bits, to
// parameters. What `server-steps.ts` times alone, without the rows' way to the backend, is a part of it.
import { createSideModel, type SideModel } from '../src/model/index.ts';
import { type AdamWState, adamwInit } from '../src/model/optim.ts';
import { encodeActivations } from '../src/quant/index.ts';
import { CompiledEngine } from '../src/server/compiled-engine.ts';
import type { TrainingJob } from '../src/server/index.ts';
import { ReceivedRows, type Row } from '../src/server/received-rows.ts';
import { StepMaker, type SteppedFit } from '../src/server/step-maker.ts';
import {
  type Backend,
  cpuBackend,
  disposeTree,
  flatten,
  keep,
  random,
  scope,
  type Tree,
} from '../src/tensor/index.ts';
import { nameOfShape, type StepShape } from './server-shapes.ts';
import { type Reference, rateAt, STEP_OPTIONS } from './server-steps.ts';
import { valuesOf } from './values.ts';

/** Bits of a value on the wire and in the cache, as a job has them by default. */
const BITS = 4;

/** Share of the taps that a step zeroes, as a job has it by default. */
const TAP_DROPOUT = 0.5;

/** Counts what goes to a backend from now on. */
function countUploads(backend: Backend): () => number {
  let bytes = 0;
  const write = backend.write.bind(backend);
  backend.write = (handle, dtype, data, offset) => {
    bytes += data.byteLength;
    write(handle, dtype, data, offset);
  };
  return () => bytes;
}

function jobOf({ layers, width, rows, classes, rank, head }: StepShape): TrainingJob {
  const channels = layers * width;
  return {
    shape: { layers, width, kinds: 1, classes },
    codec: {
      bits: BITS,
      calibration: {
        mean: new Float32Array(channels),
        scale: new Float32Array(channels).fill(1),
      },
    },
    rows: { train: rows, valid: 1 },
    options: {
      ...{ side: 'parallel', baselines: [], epochs: 1, batchSize: rows, learningRate: 1e-3 },
      ...{ warmupRatio: 0, rank, head, alphaStart: 0, gateRate: 1, refit: false, seed: 1 },
      ...STEP_OPTIONS,
      tapDropout: TAP_DROPOUT,
    },
    cacheLimit: Number.POSITIVE_INFINITY,
  };
}

/** A job's steps on one batch of received rows. */
export class TrainerSteps {
  /** Mean loss and norm of the gradient of the last step. */
  loss = Number.NaN;
  gradNorm = Number.NaN;
  private readonly maker: StepMaker;
  private readonly engine: CompiledEngine | undefined;
  private readonly rows: ReceivedRows;
  private readonly batch: readonly Row[];
  private readonly model: SideModel;
  private readonly uploaded: () => number;
  private fit: { params: Tree; state: AdamWState<Tree> };

  /** @param compiled whether steps are compiled into calls of several, as on gpu.js */
  constructor(shape: StepShape, backend: Backend, compiled: boolean) {
    const job = jobOf(shape);
    const { layers, width, rows, classes } = shape;
    this.rows = new ReceivedRows(job);
    this.rows.receive({
      split: 'train',
      rows: Array.from({ length: rows }, (_, i) => i),
      labels: Array.from({ length: rows }, (_, i) => (7 * i) % classes),
      taps: Array.from({ length: layers }, (_, i) =>
        encodeActivations(valuesOf(rows * width, 100 + i), rows, width, BITS),
      ),
    });
    this.batch = this.rows.batches[0];
    this.engine = compiled ? new CompiledEngine(backend) : undefined;
    const { mean, scale } = job.codec.calibration;
    // What the trainer holds between an engine's calls is in the memory of the processor.
    const own = compiled ? cpuBackend() : backend;
    this.maker = new StepMaker(job, this.rows, () => ({ mean, scale }), own, this.engine);
    this.model = createSideModel('parallel', job.shape, job.options);
    const params = scope(() => keep(this.model.init(random(1), own)));
    this.fit = { params, state: adamwInit(params) };
    this.uploaded = countUploads(backend);
  }

  /** Bytes that went to the backend so far. */
  get bytesUp(): number {
    return this.uploaded();
  }

  /** Makes `count` steps at once; more than one takes an engine. */
  async steps(count: number): Promise<number> {
    const batches = Array.from({ length: count }, () => this.batch);
    const run = this.maker.steps(this.model, this.fit, batches, rateAt);
    let next = run.next();
    while (!next.done) {
      if (next.value.kind === 'wait') await next.value.until;
      next = run.next();
    }
    return this.take(next.value);
  }

  /** AdamW's first moments by path. */
  moments(): Map<string, Float32Array> {
    return new Map([...flatten(this.fit.state.m)].map(([path, leaf]) => [path, leaf.toFloat32()]));
  }

  async dispose(): Promise<void> {
    const { params, state } = this.fit;
    disposeTree([params, state.m, state.v]);
    this.maker.close();
    this.rows.close();
    await this.engine?.close();
  }

  private take({ params, state, losses, gradNorms }: SteppedFit): number {
    const { fit } = this;
    disposeTree([fit.params, fit.state.m, fit.state.v]);
    this.fit = { params, state };
    this.loss = losses[losses.length - 1];
    this.gradNorm = gradNorms[gradNorms.length - 1];
    return this.loss;
  }
}

const references = new Map<string, Reference>();

/** What the reference backend makes of a shape's first step; computed once. */
export async function trainerReferenceOf(shape: StepShape): Promise<Reference> {
  const name = nameOfShape(shape);
  const known = references.get(name);
  if (known) return known;
  const training = new TrainerSteps(shape, cpuBackend(), false);
  await training.steps(1);
  const { loss, gradNorm } = training;
  const reference = { loss, gradNorm, moments: training.moments() };
  await training.dispose();
  references.set(name, reference);
  return reference;
}
