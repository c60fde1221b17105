import type { SideShape } from '../model/index.ts';
import type { ActivationBits } from '../quant/index.ts';
import type { TapKind } from './tap-kinds.ts';

/** What the device makes of a sample: how it is worded, what is tapped, and in how many bits it travels. */
export interface TapPlan {
  /** Prompt with `{text}`, `{text_pair}`, `{labels}`. */
  readonly template: string;
  /** Class names; none where a number is predicted. */
  readonly labels: readonly string[];
  /** Labelled examples in front of every prompt, whose keys and values are computed once; '' for none. */
  readonly prefix: string;
  /** Most tokens of a sample, the prefix not counted. */
  readonly maxSeqLength: number;
  /** Tapped layers, ascending, from 1; 0 is the embedding. */
  readonly layers: readonly number[];
  readonly kinds: readonly TapKind[];
  readonly bits: ActivationBits;
}

/** Outputs of a model for these classes: one each, and one in all where a number is predicted. */
export function outputsOf(labels: readonly string[]): number {
  return Math.max(labels.length, 1);
}

/** Dimensions of what a plan sends. */
export function shapeOfPlan(plan: TapPlan, width: number): SideShape {
  return {
    layers: plan.layers.length,
    width,
    kinds: plan.kinds.length,
    classes: outputsOf(plan.labels),
  };
}
