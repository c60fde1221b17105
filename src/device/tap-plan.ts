import type { LmShape, Sample } from '../data/index.ts';
import type { SideShape } from '../model/index.ts';
import type { ActivationBits } from '../quant/index.ts';
import { UsageError } from '../tensor/errors.ts';
import type { SentKind } from './tap-kinds.ts';

/** What the device makes of a sample: how it is worded, what is tapped, and in how many bits it travels. */
export interface TapPlan {
  /** Prompt with `{text}`, `{text_pair}`, `{labels}`; of a language model what stands around a prompt. */
  readonly template: string;
  /** Class names; none where a number is predicted. */
  readonly labels: readonly string[];
  /** Labelled examples in front of every prompt, whose keys and values are computed once; '' for none, and of a language model. */
  readonly prefix: string;
  /** Most tokens of a sample, the prefix not counted. */
  readonly maxSeqLength: number;
  /** Tapped layers, ascending, from 1; 0 is the embedding. */
  readonly layers: readonly number[];
  readonly kinds: readonly SentKind[];
  readonly bits: ActivationBits;
  /** Set where the next token is learnt. */
  readonly lm?: LmWording;
}

/** How rows of a language model's data become tokens, and which of them are in the loss. */
export interface LmWording {
  readonly shape: LmShape;
  /** Whether the model's chat template words prompts; else `template` stands around them. */
  readonly chat: boolean;
  /** Whether prompts are left out of the loss. */
  readonly maskPrompt: boolean;
  /** Rows that stand in front of every other, whose keys and values are computed once; none where absent. */
  readonly shots?: readonly Sample[];
}

/** Outputs of a model for these classes: one each, and one in all where a number is predicted. */
export function outputsOf(labels: readonly string[]): number {
  return Math.max(labels.length, 1);
}

/** @throws UsageError for layers that the model lacks, for none, and for a language model's without the last */
export function checkLayers({ layers, lm }: TapPlan, numHiddenLayers: number): void {
  const bad = layers.find((l) => !Number.isInteger(l) || l < 0 || l > numHiddenLayers);
  if (bad !== undefined || layers.length === 0) {
    throw new UsageError(
      `--layers: ${bad ?? 'none'} given, the model has layers 1 to ${numHiddenLayers} (0 is the embedding)`,
    );
  }
  if (!lm || layers.includes(numHiddenLayers)) return;
  throw new UsageError(
    `--layers: a language model is tuned at its output, so the last layer, ${numHiddenLayers}, must be among them`,
  );
}

/** Dimensions of what a plan sends. */
export function shapeOfPlan(plan: TapPlan, width: number): SideShape {
  return {
    layers: plan.layers.length,
    width,
    kinds: plan.kinds.length,
    classes: plan.lm ? 0 : outputsOf(plan.labels),
  };
}
