import type { SideShape } from '../../src/model/index.ts';
import { encodeActivations } from '../../src/quant/index.ts';
import type { ReceivedBatch, Split, TrainingJob, TrainingOptions } from '../../src/server/index.ts';
import { random } from '../../src/tensor/index.ts';
import { plainAffine } from './side.ts';

/** Hyper-parameters with which a tiny job learns in a few steps. */
export const TRAINING_OPTIONS: TrainingOptions = {
  side: 'parallel',
  baselines: [],
  epochs: 3,
  batchSize: 4,
  learningRate: 0.02,
  warmupRatio: 0.1,
  weightDecay: 0,
  maxGradNorm: 1,
  rank: 3,
  alphaStart: 0,
  gateRate: 1,
  head: 'dense',
  tapDropout: 0.2,
  labelSmoothing: 0.1,
  refit: false,
  seed: 5,
};

/** What a device would send of a small task, and the job it belongs to. */
export interface TinyTask {
  readonly job: TrainingJob;
  readonly train: readonly ReceivedBatch[];
  readonly valid: readonly ReceivedBatch[];
}

const SHAPE: SideShape = { layers: 2, width: 16, kinds: 2, classes: 3 };

/**
 * Rows whose class shows in their taps, through noise.
 * @param noise deviation beside class means of deviation 1; above 1 no model gets all rows right
 */
export function tinyTask(
  options: Partial<TrainingOptions> = {},
  settings: {
    rows?: { train: number; valid: number };
    noise?: number;
    cacheLimit?: number;
    spillDir?: string;
  } = {},
): TinyTask {
  const { rows = { train: 10, valid: 6 }, noise = 0.5, cacheLimit = 1e6, spillDir } = settings;
  const training = { ...TRAINING_OPTIONS, ...options };
  const { layers, kinds, width, classes } = SHAPE;
  const centres = random(1).fork('centres');
  const block = kinds * width;
  const means = Array.from({ length: classes * layers * block }, () => centres.normal());
  const batchesOf = (split: Split): ReceivedBatch[] => {
    const rng = random(2).fork(split);
    const batches: ReceivedBatch[] = [];
    for (let start = 0; start < rows[split]; start += training.batchSize) {
      const count = Math.min(training.batchSize, rows[split] - start);
      // Ids in no order: they are the device's own.
      const ids = Array.from({ length: count }, (_, i) => 1000 - 7 * (start + i));
      const labels = ids.map((_, i) => (start + i) % classes);
      const taps = Array.from({ length: layers }, (_, layer) => {
        const values = labels.flatMap((label) =>
          Array.from(
            { length: block },
            (_, i) => means[(label * layers + layer) * block + i] + noise * rng.normal(),
          ),
        );
        return encodeActivations(Float32Array.from(values), count * kinds, width, 4);
      });
      batches.push({ split, rows: ids, labels, taps });
    }
    return batches;
  };
  return {
    job: {
      shape: SHAPE,
      codec: { bits: 4, calibration: plainAffine(SHAPE) },
      rows,
      options: training,
      cacheLimit,
      spillDir,
    },
    train: batchesOf('train'),
    valid: batchesOf('valid'),
  };
}
