// What PyTorch's tunings came to, as tables.

/** An epoch's end. */
interface EpochEnd {
  readonly epoch: number;
  /** Since the training began. */
  readonly seconds: number;
  /** Trained on since then, padding not counted. */
  readonly tokens: number;
}

/** What lora.py prints. */
export interface LoraResult {
  readonly versions: Readonly<Record<string, string>>;
  /** Perplexity of the validation rows before training. */
  readonly frozen: number;
  readonly lossTokens: number;
  readonly search: readonly { readonly rate: number; readonly perplexity: number }[];
  readonly runs: readonly {
    readonly epochs: number;
    readonly rate: number;
    readonly samples: number;
    readonly parameters: number;
    readonly best: EpochEnd & { readonly perplexity: number };
  }[];
}

/** What full-finetune.py prints. */
export interface FullResult {
  readonly versions: Readonly<Record<string, string>>;
  readonly search: readonly { readonly rate: number; readonly accuracy: number }[];
  readonly rate: number;
  readonly runs: readonly {
    readonly seed: number;
    readonly test: { readonly accuracy: number };
    readonly end: EpochEnd;
  }[];
  readonly mean: number;
  readonly deviation: number | null;
}

const percent = (share: number) => `${(100 * share).toFixed(1)}%`;

function heading(versions: Readonly<Record<string, string>>): string {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
}

/** A line a training, the frozen model's first. */
export function loraMarkdown(result: LoraResult): string {
  const { versions, frozen, lossTokens, search, runs } = result;
  const tried = search.map((one) => `${one.rate}: ${one.perplexity.toFixed(3)}`).join(', ');
  return [
    `${heading(versions)}; ${lossTokens} validation tokens in the loss`,
    ...(tried ? [`rates tried, validation perplexity: ${tried}`] : []),
    '',
    '| what | samples | parameters | tokens | seconds | validation perplexity |',
    '|---|---|---|---|---|---|',
    `| frozen | 0 | 0 | 0 | 0 | ${frozen.toFixed(3)} |`,
    ...runs.map(
      ({ epochs, rate, samples, parameters, best }) =>
        `| LoRA, ${epochs} epochs at ${rate}, best after ${best.epoch} | ${samples} | ${parameters} | ${best.tokens} | ${best.seconds.toFixed(0)} | ${best.perplexity.toFixed(3)} |`,
    ),
  ].join('\n');
}

/** A line a seed, then the mean. */
export function fullMarkdown(result: FullResult): string {
  const { versions, search, rate, runs, mean, deviation } = result;
  const tried = search.map((one) => `${one.rate}: ${percent(one.accuracy)}`).join(', ');
  return [
    heading(versions),
    `rates tried, validation accuracy: ${tried}; ${rate} was taken`,
    '',
    '| seed | test accuracy | seconds |',
    '|---|---|---|',
    ...runs.map(
      ({ seed, test, end }) =>
        `| ${seed} | ${percent(test.accuracy)} | ${end.seconds.toFixed(0)} |`,
    ),
    `| mean | ${percent(mean)}${deviation === null ? '' : ` ± ${percent(deviation)}`} | |`,
  ].join('\n');
}
