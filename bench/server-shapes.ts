// The sizes at which a server's train step is timed, and what a step of them comes to.
import type { HeadKind } from '../src/model/side/parallel.ts';

/** Sizes of a side network and of its batches. */
export interface StepShape {
  readonly layers: number;
  readonly width: number;
  readonly rank: number;
  /** Rows of a batch, each a sample of its own. */
  readonly rows: number;
  readonly classes: number;
  readonly head: HeadKind;
}

/** Beside SmolLM2-135M, with the published head: what peers are compared on. */
export const SMOLLM2_STEP: StepShape = {
  ...{ layers: 30, width: 576, rank: 64, rows: 256 },
  ...{ classes: 10, head: 'gated' },
};

/** One size changed at a time, around a step of which a slow backend makes several a second. */
export const SMALL_STEP: StepShape = { ...SMOLLM2_STEP, layers: 4, width: 256, rank: 16, rows: 32 };

/** The part of a case's name that tells: `L30-d576-r64-b256-gated`. */
export function nameOfShape({ layers, width, rank, rows, head }: StepShape): string {
  return `L${layers}-d${width}-r${rank}-b${rows}-${head}`;
}

/**
 * f32 operations of a step's products: two forward and four backward in a layer, less the gradient
 * of the first tap, which nobody wants; three of the head. All else is not counted.
 */
export function stepFlops({ layers, width, rank, rows, classes, head }: StepShape): number {
  const features = head === 'dense' ? layers * width : width;
  return 2 * rows * (width * rank * (6 * layers - 1) + 3 * features * classes);
}

/** Parameters that a step trains. */
export function parameterCount({ layers, width, rank, classes, head }: StepShape): number {
  const features = head === 'dense' ? layers * width : width;
  return layers + 1 + 2 * layers * width * rank + classes * (features + 1);
}

/** Bytes that a batch takes to the backend: f32 taps, and of each row its label and its weight in the loss. */
export function batchBytes({ layers, width, rows }: StepShape): number {
  return 4 * rows * (layers * width + 2);
}
