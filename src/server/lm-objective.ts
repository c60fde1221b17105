import { type LmHead, lmLogits, lmLoss, tokenLosses } from '../model/index.ts';
import { tensor } from '../tensor/index.ts';
import type { Objective } from './objective.ts';

/**
 * Labels are next tokens, outputs hidden states `[R, D]` for the frozen head. Cross-entropy, its mean
 * over tokens, also between epochs.
 */
export function lmObjective(head: LmHead): Objective {
  return {
    targets: (labels, backend) => tensor(Int32Array.from(labels), [labels.length], { backend }),
    loss: (outputs, targets, labelSmoothing) => lmLoss(head, outputs, targets, labelSmoothing),
    scoreRows: (outputs, labels) =>
      tokenLosses(outputs, labels, lmLogits(head)).map((loss) => ({ loss })),
    scoreEpoch(rows) {
      const validLoss = rows.reduce((sum, { loss }) => sum + loss, 0) / rows.length;
      // Epochs are told apart on the same tokens, so how these differ among themselves says nothing.
      return { validLoss, validAccuracy: null, validError: 0 };
    },
  };
}
