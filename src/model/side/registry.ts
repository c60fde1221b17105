import { UsageError } from '../../tensor/index.ts';
import { layerMix, linearProbe } from '../baselines/mix.ts';
import { kernelHead } from './kernel.ts';
import { ladderSide } from './ladder.ts';
import { type HeadKind, parallelSide } from './parallel.ts';
import { parallelLm } from './parallel-lm.ts';
import { quantizedSide } from './quantized-side.ts';
import type { SideModel, SideShape } from './side-model.ts';

/** Side models by the name that files and messages use; baselines are of the same kind. */
export const SIDE_NAMES = [
  'parallel',
  'ladder',
  'quantized-side',
  'kernel',
  'mix',
  'probe',
] as const;

/** Those that classify and tune no language model. */
const CLASSIFIERS: readonly string[] = ['kernel', 'mix', 'probe'];

/** Those that tune a language model, too. */
export const LM_SIDE_NAMES = SIDE_NAMES.filter((name) => !CLASSIFIERS.includes(name));

/** The name of a side model or baseline. */
export type SideName = (typeof SIDE_NAMES)[number];

/** What a side model is built from beyond its shape; each takes what concerns it. */
export interface SideOptions {
  readonly rank: number;
  readonly alphaStart: number;
  readonly gateRate: number;
  readonly head: HeadKind;
  readonly tapDropout: number;
}

/** The side model of that name. @throws UsageError for a name that is none of `SIDE_NAMES` */
export function createSideModel(name: string, shape: SideShape, options: SideOptions): SideModel {
  if (shape.classes === 0 && CLASSIFIERS.includes(name)) {
    throw new UsageError(
      `--side: ${name} classifies; a language model takes ${LM_SIDE_NAMES.join(', ')}`,
    );
  }
  switch (name) {
    case 'parallel':
      return shape.classes === 0 ? parallelLm(shape, options) : parallelSide(shape, options);
    case 'ladder':
      return ladderSide(shape, options);
    case 'quantized-side':
      return quantizedSide(shape, options);
    case 'kernel':
      return kernelHead(shape);
    case 'mix':
      return layerMix(shape);
    case 'probe':
      return linearProbe(shape);
    default:
      throw new UsageError(`side network ${name} is unknown; known: ${SIDE_NAMES.join(', ')}`);
  }
}
