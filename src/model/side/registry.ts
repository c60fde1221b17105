import { UsageError } from '../../tensor/index.ts';
import { layerMix, linearProbe } from '../baselines/mix.ts';
import { type HeadKind, parallelSide } from './parallel.ts';
import { parallelLm } from './parallel-lm.ts';
import type { SideModel, SideShape } from './side-model.ts';

/** Side models by the name that files and messages use; baselines are of the same kind. */
export const SIDE_NAMES = ['parallel', 'mix', 'probe'] as const;

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
  if (shape.classes === 0 && name !== 'parallel') {
    throw new UsageError(`--side: ${name} classifies; a language model takes parallel`);
  }
  switch (name) {
    case 'parallel':
      return shape.classes === 0 ? parallelLm(shape, options) : parallelSide(shape, options);
    case 'mix':
      return layerMix(shape);
    case 'probe':
      return linearProbe(shape);
    default:
      throw new UsageError(`side network ${name} is unknown; known: ${SIDE_NAMES.join(', ')}`);
  }
}
