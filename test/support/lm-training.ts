import { encodeLmHead, type SideShape } from '../../src/model/index.ts';
import { encodeActivations } from '../../src/quant/index.ts';
import type { ReceivedBatch, Split, TrainingJob, TrainingOptions } from '../../src/server/index.ts';
import { cpuBackend, random, randomNormal } from '../../src/tensor/index.ts';
import { plainAffine } from './side.ts';
import { TRAINING_OPTIONS } from './training.ts';

export const LM_VOCAB = 23;

export const LM_SHAPE: SideShape = { layers: 2, width: 16, kinds: 1, classes: 0 };

/** The head of a tiny model as a device sends it. */
export function lmHeadBytes(vocab = LM_VOCAB): Uint8Array {
  const backend = cpuBackend();
  const rng = random(7);
  const { width } = LM_SHAPE;
  const weight = randomNormal([width], 1, rng, backend);
  const matrix = randomNormal([vocab, width], 0.5, rng, backend);
  return encodeLmHead({ norm: { kind: 'rms', eps: 1e-5, weight }, matrix }, backend);
}

/**
 * What a device would send of a small language model's job: rows of unlike length.
 * @param longest tokens of a row at the most
 */
export function lmTask(
  options: Partial<TrainingOptions> = {},
  longest = 6,
): {
  readonly job: TrainingJob;
  readonly train: readonly ReceivedBatch[];
  readonly valid: readonly ReceivedBatch[];
} {
  const rows = { train: 12, valid: 4 };
  const training: TrainingOptions = {
    ...{ ...TRAINING_OPTIONS, head: 'gated', tapDropout: 0, labelSmoothing: 0, rank: 8 },
    ...options,
  };
  const { layers, width } = LM_SHAPE;
  const states = random(1).fork('states');
  // A token's hidden states follow from the next one, so that it can be learnt.
  const means = Array.from({ length: LM_VOCAB * layers * width }, () => states.normal());
  const batchesOf = (split: Split): ReceivedBatch[] => {
    const rng = random(2).fork(split);
    const batches: ReceivedBatch[] = [];
    for (let start = 0; start < rows[split]; start += training.batchSize) {
      const ids = Array.from(
        { length: Math.min(training.batchSize, rows[split] - start) },
        (_, i) => start + i,
      );
      const counts = ids.map(() => 1 + rng.int(longest));
      const tokens = counts.reduce((sum, count) => sum + count, 0);
      const labels = Array.from({ length: tokens }, () => rng.int(LM_VOCAB));
      const taps = Array.from({ length: layers }, (_, layer) => {
        const values = labels.flatMap((label) =>
          Array.from(
            { length: width },
            (_, i) => means[(label * layers + layer) * width + i] + 0.1 * rng.normal(),
          ),
        );
        return encodeActivations(Float32Array.from(values), tokens, width, 4);
      });
      batches.push({ split, rows: ids, counts, labels, taps });
    }
    return batches;
  };
  return {
    job: {
      shape: LM_SHAPE,
      codec: { bits: 4, calibration: plainAffine(LM_SHAPE) },
      ...{ task: 'lm', vocab: LM_VOCAB, rows, options: training, cacheLimit: 1e6 },
    },
    train: batchesOf('train'),
    valid: batchesOf('valid'),
  };
}
