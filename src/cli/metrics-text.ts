import Table from 'cli-table3';
import type { ConfusionCell } from '../data/index.ts';
import type { Scores } from './evaluate.ts';

/** Above so many classes the matrix is left for a list of what is confused most. */
const TABLED_CLASSES = 12;
/** Entries of that list. */
const LISTED = 10;
/** Columns of a class's name before it is cut. */
const NAME_WIDTH = 24;

/** A share as `93.3%`; `-` where there is none. */
export function percent(share: number | null): string {
  return share === null ? '-' : `${(100 * share).toFixed(1)}%`;
}

/** Text for one line of a terminal: control characters spelled out, cut to `width` characters. */
export function oneLine(text: string, width = NAME_WIDTH): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) => {
    const name = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
    return name ?? `\\u{${(character.codePointAt(0) as number).toString(16)}}`;
  });
  const characters = [...plain];
  return characters.length > width ? `${characters.slice(0, width - 3).join('')}...` : plain;
}

/** A number of any size in four digits. */
export function decimals(value: number): string {
  return String(Number(value.toPrecision(4)));
}

/** Accuracy, macro-F1 and Matthews correlation in one line, errors and correlations of numbers, or perplexities. */
export function scoresLine(scores: Scores): string {
  if ('perplexity' in scores) {
    const { perplexity, basePerplexity, tokens, rows } = scores;
    return `perplexity ${decimals(perplexity)}, the frozen model's ${decimals(basePerplexity)} (${tokens} tokens of ${rows} rows)`;
  }
  if ('rmse' in scores) {
    const { rmse, mae, rows } = scores;
    const [pearson, spearman] = [scores.pearson, scores.spearman].map(
      (value) => value?.toFixed(3) ?? 'none',
    );
    return `RMSE ${decimals(rmse)}, mean absolute error ${decimals(mae)}, Pearson ${pearson}, Spearman ${spearman} (${rows} rows)`;
  }
  const { accuracy, correct, rows, macroF1, matthews } = scores;
  return `accuracy ${percent(accuracy)} (${correct} of ${rows}), macro-F1 ${macroF1.toFixed(3)}, Matthews ${matthews.toFixed(3)}`;
}

/**
 * A confusion matrix for a terminal: the whole of it, a row a label and a column a prediction,
 * where classes are few, else what is confused most.
 */
export function confusionText(labels: readonly string[], cells: readonly ConfusionCell[]): string {
  if (labels.length > TABLED_CLASSES) return mostConfused(labels, cells);
  const names = labels.map((label) => oneLine(label));
  const table = new Table({
    head: ['label \\ predicted', ...names],
    colAligns: ['left', ...names.map(() => 'right' as const)],
    style: { head: [], border: [] },
  });
  names.forEach((name, label) => {
    const counts = names.map((_, predicted) => {
      const cell = cells.find((one) => one.label === label && one.predicted === predicted);
      return String(cell?.rows ?? 0);
    });
    table.push([name, ...counts]);
  });
  return table.toString();
}

function mostConfused(labels: readonly string[], cells: readonly ConfusionCell[]): string {
  const misses = cells
    .filter(({ label, predicted }) => label !== predicted)
    .sort((a, b) => b.rows - a.rows);
  if (misses.length === 0) return 'nothing was confused';
  const table = new Table({
    head: ['label', 'predicted as', 'rows'],
    colAligns: ['left', 'left', 'right'],
    style: { head: [], border: [] },
  });
  for (const { label, predicted, rows } of misses.slice(0, LISTED)) {
    table.push([oneLine(labels[label]), oneLine(labels[predicted]), String(rows)]);
  }
  const more = misses.length > LISTED ? `\nand ${misses.length - LISTED} pairs more` : '';
  return `confused most:\n${table.toString()}${more}`;
}
