import { type Command, Option } from 'commander';
import { HEAD_KINDS, SIDE_NAMES } from '../model/index.ts';
import type { TrainingOptions } from '../server/index.ts';
import { decimal, integer } from './flags.ts';

/** Hyper-parameters as flags; names are the field's. */
export interface TrainingFlags {
  readonly batchSize: number;
  readonly epochs: number;
  readonly learningRate: number;
  readonly warmupRatio: number;
  readonly weightDecay: number;
  readonly maxGradNorm: number;
  readonly rank: number;
  readonly side: TrainingOptions['side'];
  readonly alphaStart: number;
  readonly gateRate: number;
  readonly head: TrainingOptions['head'];
  readonly tapDropout: number;
  readonly labelSmoothing: number;
  readonly refit: boolean;
  readonly seed: number;
}

/** --batch-size, --epochs, --learning-rate, --rank, ... */
export function addTrainingFlags(command: Command): Command {
  return (
    command
      .option('--batch-size <n>', 'samples of a step, and of a batch on the wire', integer(1), 32)
      .option(
        '--epochs <n>',
        'passes over the rows; the device takes part in the first alone',
        integer(1),
        10,
      )
      .option('--learning-rate <rate>', "peak of AdamW's rate", decimal(0, 10, true), 5e-4)
      .option(
        '--warmup-ratio <share>',
        'share of all steps over which the rate rises',
        decimal(0, 1),
        0.1,
      )
      // A head of thousands of inputs on a thousand rows overfits under the usual 0.01: WordNet-10,
      // four splits of the training rows, dense head, 3 / 10: 0.757 / 0.763.
      .option(
        '--weight-decay <rate>',
        'pull of matrices towards zero; much for few rows',
        decimal(0),
        10,
      )
      .option(
        '--max-grad-norm <norm>',
        'gradients are clipped to this norm',
        decimal(0, 1e9, true),
        1,
      )
      // On the same splits 16 at a rate of 5e-4 is no worse than 64 or 1e-3.
      .option('--rank <r>', 'bottleneck of every adapter', integer(1), 16)
      .addOption(
        new Option('--side <name>', 'what is trained').choices([...SIDE_NAMES]).default('parallel'),
      )
      .option('--alpha-start <value>', 'start of the mixing logits', decimal(-100, 100), 0)
      .option(
        '--gate-rate <factor>',
        "factor on the gates' learning rate",
        decimal(0, 1e6, true),
        10,
      )
      .addOption(
        new Option('--head <kind>', "what the head reads: every layer's state, or the last one's")
          .choices([...HEAD_KINDS])
          .default('dense'),
      )
      // With both, 0.777 instead of 0.763, and 0.82 instead of 0.81 behind a prefix of examples.
      .option(
        '--tap-dropout <share>',
        "share of the side network's inputs that a step zeroes",
        decimal(0, 0.99),
        0.5,
      )
      .option(
        '--label-smoothing <share>',
        'share of a target that is spread evenly over the classes',
        decimal(0, 1),
        0.1,
      )
      .option(
        '--no-refit',
        'keep the validation rows out of the last training, where they came out of train.jsonl',
      )
      .option('--seed <n>', 'start of all random numbers of the job', integer(0), 0)
  );
}

/**
 * The job's hyper-parameters as the server takes them.
 * @param validFromTrain whether the validation rows were taken out of the training rows: then, and
 * only then, the last training gets them back
 */
export function trainingOptions(
  flags: TrainingFlags,
  baselines: readonly TrainingOptions['side'][],
  validFromTrain: boolean,
): TrainingOptions {
  const { batchSize, epochs, learningRate, warmupRatio, weightDecay, maxGradNorm } = flags;
  const { rank, side, alphaStart, gateRate, head, tapDropout, labelSmoothing, seed } = flags;
  return {
    side,
    baselines: baselines.filter((name) => name !== side),
    ...{ batchSize, epochs, learningRate, warmupRatio, weightDecay, maxGradNorm },
    ...{ rank, alphaStart, gateRate, head, tapDropout, labelSmoothing, seed },
    refit: flags.refit && validFromTrain,
  };
}
