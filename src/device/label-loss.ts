import type { Sample } from '../data/index.ts';
import { type CodedLmHead, lmLogits, lmLoss, tokenLosses } from '../model/side/lm-head.ts';
import {
  affine,
  type Backend,
  ProtocolError,
  scope,
  type Tensor,
  tensor,
  valueAndGrad,
} from '../tensor/index.ts';

/** Some consecutive tokens in the loss of a sample. */
export interface SampleTokens {
  readonly sample: Sample;
  readonly first: number;
  readonly count: number;
}

/** What a server that has no labels asks: the loss of its side network's states. */
export interface LabelLossRequest {
  /** Whose states they are, in their order. */
  readonly runs: readonly SampleTokens[];
  /** `[R, D]`. */
  readonly states: Float32Array;
  /** Tokens of the whole step, over which its loss is a mean. */
  readonly tokens: number;
  /** Whether the gradient is wanted, or the loss alone. */
  readonly gradient: boolean;
  readonly labelSmoothing: number;
}

/** The answer: GRADS without its part. */
export interface LabelLoss {
  readonly loss: number;
  /** `[R, D]`; empty where none was wanted. */
  readonly gradient: Float32Array;
}

/**
 * The labels of the tokens that are asked for.
 * @param labelsOf a sample's next tokens in the loss
 * @throws ProtocolError (E_JOB) for tokens that a sample does not have
 */
export function labelsOfRuns(
  runs: readonly SampleTokens[],
  labelsOf: (sample: Sample) => readonly number[],
): number[] {
  return runs.flatMap(({ sample, first, count }) => {
    const labels = labelsOf(sample);
    if (first + count <= labels.length) return labels.slice(first, first + count);
    throw new ProtocolError(
      `states: tokens ${first} to ${first + count - 1} of a row that has ${labels.length} in the loss`,
      'E_JOB',
    );
  });
}

/**
 * What a server with the labels would compute of a part of a step, by the same function: the part's
 * share of the mean loss, and its gradient by the states; or the sum of the tokens' losses alone.
 */
export function labelLoss(
  head: CodedLmHead,
  labels: readonly number[],
  { states, tokens, gradient, labelSmoothing }: Omit<LabelLossRequest, 'runs'>,
  backend: Backend,
): LabelLoss {
  return scope(() => {
    const rows = labels.length;
    const hidden = tensor(states, [rows, states.length / rows], { backend });
    if (!gradient) {
      const loss = tokenLosses(hidden, labels, lmLogits(head)).reduce((sum, one) => sum + one, 0);
      return { loss, gradient: new Float32Array(0) };
    }
    const targets = tensor(Int32Array.from(labels), [rows], { backend });
    const share = rows / tokens;
    const { value, grads } = valueAndGrad((h: Tensor) => {
      const loss = lmLoss(head, h, targets, labelSmoothing);
      return share === 1 ? loss : affine(loss, share);
    })(hidden);
    return { loss: value.item(), gradient: grads.toFloat32() };
  });
}
