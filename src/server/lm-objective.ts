import { type LmHead, lmLogits, lmLoss } from '../model/side/lm-head.ts';
import { concat, crossEntropy, scope, slice, type Tensor, tensor } from '../tensor/index.ts';
import type { EpochScore, Objective, RowScore } from './objective.ts';

/** Rows whose logits are held at once: of a vocabulary of 50,000, 13 MB. */
const ROWS_AT_ONCE = 64;

/** Cross-entropy of every row of hidden states `[R, D]`, a few rows' logits at a time. */
function rowLosses(head: LmHead, hidden: Tensor, targets: Tensor): Tensor {
  const logitsOf = lmLogits(head);
  const [rows] = hidden.shape;
  const ids = targets.toArray() as Int32Array;
  const { backend } = hidden;
  const pieces: Tensor[] = [];
  for (let from = 0; from < rows; from += ROWS_AT_ONCE) {
    const to = Math.min(rows, from + ROWS_AT_ONCE);
    pieces.push(
      scope(() => {
        const logits = logitsOf(slice(hidden, 0, from, to));
        // From the numbers themselves: what a compiled step computes cannot be checked to be indices.
        const next = tensor(ids.slice(from, to), [to - from], { backend });
        return crossEntropy(logits, next, { reduction: 'none' });
      }),
    );
  }
  return concat(pieces, 0);
}

/** What the validation tokens say of an epoch. */
export function scoreLmEpoch(tokens: readonly RowScore[]): EpochScore {
  const validLoss = tokens.reduce((sum, { loss }) => sum + loss, 0) / tokens.length;
  // Epochs are told apart on the same tokens, so how these differ among themselves says nothing.
  return { validLoss, validAccuracy: null, validError: 0 };
}

/**
 * Labels are next tokens, outputs hidden states `[R, D]` for the frozen head. Cross-entropy, its mean
 * over tokens, also between epochs.
 */
export function lmObjective(head: LmHead): Objective {
  return {
    targets: (labels, backend) => tensor(Int32Array.from(labels), [labels.length], { backend }),
    loss: (outputs, targets, labelSmoothing) => lmLoss(head, outputs, targets, labelSmoothing),
    rowValues: (outputs, targets) => ({ losses: rowLosses(head, outputs, targets) }),
    scoreEpoch: scoreLmEpoch,
  };
}
