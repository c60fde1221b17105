import type { Backend, Random, Tensor, Tree } from '../../tensor/index.ts';

/** What every trainable head over the frozen backbone's taps is built from. */
export interface SideShape {
  /** Tapped layers L. */
  readonly layers: number;
  /** Width D of a tap. */
  readonly width: number;
  /** Rows a sample sends for each layer (last token, mean, ...): K. */
  readonly kinds: number;
  /** Classes C; 0 of a language model, whose outputs are hidden states for the backbone's own head. */
  readonly classes: number;
}

/** What comes of solving a model. */
export interface Solved<P extends Tree = Tree> {
  readonly params: P;
  /** Mean loss of rows that were left out in turn: cross-entropy, or squared error of a number. */
  readonly loss: number;
  /** What was chosen by that loss. */
  readonly chosen: { readonly ridge: number; readonly sharpness: number };
}

/**
 * Something that trains on taps: the side network, and the baselines it has to beat. Pure
 * functions over a parameter tree; holds no tensor itself.
 */
export interface SideModel<P extends Tree = Tree> {
  readonly name: string;
  readonly shape: SideShape;
  /** Fresh parameters, fixed by `rng`. */
  init(rng: Random, backend: Backend): P;
  /**
   * taps: A_1..A_L, each `[B*K, D]`, a sample's K rows together; returns logits `[B, C]`. Of a
   * language model B are tokens, H_L as it came follows A_L, and returned are states `[B, D]`.
   */
  logits(params: P, taps: readonly Tensor[]): Tensor;
  /**
   * Of a model that is solved in closed form: its parameters by all rows, where others make steps.
   * taps: as `logits` takes them; labels: class indices, or numbers; chosen: by an earlier solution
   * @throws UsageError for more rows than can be solved
   */
  solve?(taps: readonly Tensor[], labels: readonly number[], chosen?: Solved['chosen']): Solved<P>;
  /** Share of the taps' numbers that training zeroes in a step; none where it is absent. */
  readonly tapDropout?: number;
  /** Factor on the learning rate for the parameter at this path. */
  rate(path: string): number;
  /** Whether weight decay pulls on the parameter at this path. */
  decays(path: string): boolean;
}
