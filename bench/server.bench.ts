// A server's train step, whole: the batch's copy to the backend, loss, gradients, clipping and AdamW, by
// backend and size. The function is the one that the server's trainer runs; `trainer-` cases are the trainer's
// own step, from cached rows in few bits on. All shares are of the machine's f32 peak in one thread.
import { hasRelaxedSimd } from '../src/tensor/backends/wasm/features.ts';
import { type Backend, cpuBackend, gpuBackend, wasmBackend } from '../src/tensor/index.ts';
import type { BenchCase } from './harness.ts';
import type { Arithmetic } from './peak.ts';
import {
  batchBytes,
  nameOfShape,
  parameterCount,
  SMALL_STEP,
  SMOLLM2_STEP,
  type StepShape,
  stepFlops,
} from './server-shapes.ts';
import { checkStep, referenceOf, SideTraining } from './server-steps.ts';
import { TrainerSteps, trainerReferenceOf } from './trainer-step.ts';

/** Steps of a compiled call. */
const PLAN_STEPS = 4;

/** A real model's network with a batch of few rows: the largest that is always timed, by quick backends. */
const REAL_STEP: StepShape = { ...SMOLLM2_STEP, rows: SMOLLM2_STEP.rows / 8 };

/** The fastest multiply-accumulate of f32 that there is here. */
const F32: Arithmetic = hasRelaxedSimd() ? 'f32 relaxed madd' : 'f32 mul, add';

/** A backend, and how many steps of a case it makes at once; null: one, as it stands. */
interface Way {
  /** The part of a case's name that tells. */
  readonly label: string;
  open(): Backend | Promise<Backend>;
  readonly plan: number | null;
}

const gpu = () => gpuBackend({ mode: 'webasm' });

const WAYS: readonly Way[] = [
  { label: 'cpu', open: cpuBackend, plan: null },
  {
    label: 'wasm-simd128',
    open: () => wasmBackend({ variant: 'simd128' }),
    plan: null,
  },
  ...(hasRelaxedSimd()
    ? [
        {
          label: 'wasm-relaxed',
          open: () => wasmBackend({ variant: 'relaxed' }),
          plan: null,
        } satisfies Way,
      ]
    : []),
  { label: 'gpu:webasm', open: gpu, plan: null },
  { label: 'gpu:webasm-plan', open: gpu, plan: PLAN_STEPS },
];

/** One size at a time, around the small step; then the network of a real model, with both heads. */
function shapes(): StepShape[] {
  const small = SMALL_STEP;
  return [
    small,
    { ...small, rows: 4 * small.rows },
    { ...small, width: 4 * small.width },
    { ...small, rank: 4 * small.rank },
    { ...small, layers: 4 * small.layers },
    { ...small, head: 'dense' },
    REAL_STEP,
    SMOLLM2_STEP,
    { ...SMOLLM2_STEP, head: 'dense' },
  ];
}

/** `1.2 MB`. */
const megabytes = (bytes: number) => `${(bytes / 1e6).toPrecision(3)} MB`;

/** What crosses to the backend for a step: its batch, and of a plan its share of all that trains. */
function uploaded(shape: StepShape, plan: number | null): number {
  return batchBytes(shape) + (plan ? (3 * 4 * parameterCount(shape)) / plan : 0);
}

function caseOf(shape: StepShape, { label, open, plan }: Way): BenchCase {
  const steps = plan ?? 1;
  const name = `server/${label}/${nameOfShape(shape)}`;
  const ops = steps * stepFlops(shape);
  const planned = plan ? `plan of ${plan}, ` : '';
  const slow = label === 'cpu' || label.startsWith('gpu');
  return {
    name,
    variant: `${planned}${megabytes(uploaded(shape, plan))} up a step`,
    ops,
    bytes: steps * uploaded(shape, plan),
    arithmetic: F32,
    heavy: shape !== SMALL_STEP && (slow || shape !== REAL_STEP),
    async prepare() {
      const backend = await open();
      const training = new SideTraining(shape, backend);
      const run = plan
        ? () => training.call(plan)
        : // A promise, so that nobody makes dozens of runs of what takes a second.
          () => (slow ? Promise.resolve(training.step()) : training.step());
      if (plan) await training.call(1);
      else training.step();
      const { loss, gradNorm } = training;
      checkStep(name, { loss, gradNorm, moments: training.moments() }, await referenceOf(shape));
      return {
        run,
        async dispose() {
          await training.dispose();
          if ('destroy' in backend) await (backend as { destroy(): Promise<void> }).destroy();
        },
      };
    },
  };
}

/** The same as the trainer makes it; what goes up is counted as it runs. */
function trainerCaseOf(shape: StepShape, { label, open, plan }: Way): BenchCase {
  const steps = plan ?? 1;
  const name = `server/trainer-${label}/${nameOfShape(shape)}`;
  const slow = label === 'cpu' || label.startsWith('gpu');
  let bytesUp = 0;
  return {
    name,
    get variant() {
      return `${plan ? `plan of ${plan}, ` : ''}${megabytes(bytesUp / steps)} up a step`;
    },
    ops: steps * stepFlops(shape),
    get bytes() {
      return bytesUp;
    },
    arithmetic: F32,
    heavy: shape !== SMALL_STEP && (slow || shape !== REAL_STEP),
    async prepare() {
      const training = new TrainerSteps(shape, await open(), plan !== null);
      await training.steps(1);
      const { loss, gradNorm } = training;
      const first = { loss, gradNorm, moments: training.moments() };
      checkStep(name, first, await trainerReferenceOf(shape));
      const before = training.bytesUp;
      await training.steps(steps);
      bytesUp = training.bytesUp - before;
      return { run: () => training.steps(steps), dispose: () => training.dispose() };
    },
  };
}

/** Every size on every backend; the trainer's own step on those that a server takes. */
export function* cases(): Generator<BenchCase> {
  for (const shape of shapes()) for (const way of WAYS) yield caseOf(shape, way);
  for (const shape of [SMALL_STEP, REAL_STEP, SMOLLM2_STEP]) {
    for (const way of WAYS) {
      // gpu.js makes a trainer's steps compiled alone.
      if (way.label !== 'gpu:webasm') yield trainerCaseOf(shape, way);
    }
  }
}
