import {
  type Dataset,
  type LmShape,
  type PartSummary,
  type Sample,
  summarizeData,
  targetOf,
} from '../data/index.ts';
import type { TokenSurvey } from '../device/index.ts';
import { decimals, oneLine } from './metrics-text.ts';

/** Classes that are listed one by one before only the smallest and the largest are named. */
const LISTED_CLASSES = 12;

/** One part of the data: what stands in it, and what the backbone would read of it. */
export interface PartReport
  extends Omit<PartSummary, 'classes'>,
    Omit<TokenSurvey, 'samples' | 'lossTokens'> {
  /** Of a language model: tokens in the loss, and rows that have none and are skipped. */
  readonly loss?: { readonly tokens: number; readonly skipped: number };
}

/** What is known of the data before anything is trained on it. */
export interface DataReport {
  /** Rows of every class in each part, in the order of their indices. */
  readonly classes: readonly {
    readonly label: string;
    readonly train: number;
    readonly valid: number;
    readonly test: number;
  }[];
  /** Of labels that are numbers: where those of the training rows lie. */
  readonly numbers?: {
    readonly mean: number;
    readonly deviation: number;
    readonly smallest: number;
    readonly largest: number;
  };
  /** What every row is, of a language model's data. */
  readonly shape?: LmShape;
  readonly train: PartReport;
  readonly valid: PartReport;
  readonly test: PartReport | null;
}

/**
 * Sums a dataset up.
 * @param survey counts the tokens of samples as they will be worded.
 */
export async function reportData(
  data: Dataset,
  survey: (samples: readonly Sample[]) => Promise<TokenSurvey> | TokenSurvey,
): Promise<DataReport> {
  const { train, valid, test } = summarizeData(data);
  const part = async (
    { classes: _, ...summary }: PartSummary,
    samples: readonly Sample[],
  ): Promise<PartReport> => {
    const { samples: _count, lossTokens, ...tokens } = await survey(samples);
    return { ...summary, ...tokens, ...(lossTokens && { loss: lossOf(lossTokens) }) };
  };
  return {
    classes: data.labels.map((label, c) => ({
      label,
      train: train.classes[c],
      valid: valid.classes[c],
      test: test?.classes[c] ?? 0,
    })),
    ...(data.task === 'regression' && { numbers: numbersOf(data.train) }),
    ...(data.shape && { shape: data.shape }),
    train: await part(train, data.train),
    valid: await part(valid, data.valid),
    test: test ? await part(test, data.test ?? []) : null,
  };
}

const lossOf = (tokens: readonly number[]) => ({
  tokens: tokens.reduce((sum, count) => sum + count, 0),
  skipped: tokens.filter((count) => count === 0).length,
});

/** What rows of a language model's data are, in words. */
export const SHAPE_WORDS: Readonly<Record<LmShape, string>> = {
  text: 'texts',
  prompt: 'prompts with completions',
  messages: 'conversations',
};

function numbersOf(rows: readonly Sample[]): DataReport['numbers'] {
  const labels = rows.map(({ label }) => label);
  const values = labels.map(Number).sort((a, b) => a - b);
  return { ...targetOf(labels), smallest: values[0], largest: values[values.length - 1] };
}

const count = (n: number) => n.toLocaleString('en');

/** Class balance of the training rows in a line. */
function balance(classes: DataReport['classes']): string {
  if (classes.length <= LISTED_CLASSES) {
    return classes.map(({ label, train }) => `${oneLine(label)} ${count(train)}`).join(', ');
  }
  const sorted = [...classes].sort((a, b) => a.train - b.train);
  const [smallest, largest] = [sorted[0], sorted[sorted.length - 1]];
  const median = sorted[Math.floor(sorted.length / 2)].train;
  return `${count(smallest.train)} (${oneLine(smallest.label)}) to ${count(largest.train)} (${oneLine(largest.label)}) rows each, median ${count(median)}`;
}

/**
 * The report as lines for people.
 * @param maxSeqLength tokens that a sample may have.
 */
export function renderData(report: DataReport, maxSeqLength: number): string {
  const { classes, numbers, shape } = report;
  const parts = (['train', 'valid', 'test'] as const).flatMap((name) => {
    const part = report[name];
    return part === null ? [] : [{ name, part }];
  });
  const rows = parts.map(({ name, part }) => `${count(part.rows)} ${name}`).join(', ');
  const tokens = parts.reduce((n, { part }) => n + part.tokens, 0);
  const longest = Math.max(...parts.map(({ part }) => part.longest));
  const cut = parts.filter(({ part }) => part.truncated > 0);
  const learnt = parts.map(({ name, part }) => `${count(part.loss?.tokens ?? 0)} of ${name}`);
  const what = numbers ? 'labels are numbers: regression' : `${count(classes.length)} classes`;
  const lines = [
    `${rows} rows, ${shape ? `${SHAPE_WORDS[shape]}: language model` : what}`,
    shape
      ? `tokens in the loss: ${learnt.join(', ')}`
      : numbers
        ? `labels of train: ${decimals(numbers.smallest)} to ${decimals(numbers.largest)}, mean ${decimals(numbers.mean)}, deviation ${decimals(numbers.deviation)}`
        : `classes of train: ${balance(classes)}`,
    `tokens: ${count(tokens)}, the longest sample ${longest}; ${
      cut.length === 0
        ? 'none is cut'
        : `cut to --max-seq-length ${maxSeqLength}: ${cut.map(({ name, part }) => `${count(part.truncated)} of ${name}`).join(', ')}`
    }`,
  ];
  for (const { name, part } of parts) {
    const { duplicates, contradictions, alsoInTrain, loss } = part;
    const notes: string[] = [];
    if (loss && loss.skipped > 0) {
      notes.push(`${count(loss.skipped)} have no token in the loss and are skipped`);
    }
    if (duplicates > 0) {
      const other = contradictions > 0 ? `, ${count(contradictions)} under another label` : '';
      notes.push(`${count(duplicates)} repeat an earlier row${other}`);
    }
    if (alsoInTrain > 0) notes.push(`${count(alsoInTrain)} stand in train, too`);
    if (notes.length > 0) lines.push(`of ${name}: ${notes.join('; ')}`);
  }
  return lines.map((line, i) => `${i === 0 ? 'data: ' : '      '}${line}`).join('\n');
}
