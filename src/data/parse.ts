import { FormatError } from '../tensor/errors.ts';
import { type DelimitedFormat, parseDelimited } from './delimited.ts';
import { jsonlHint, parseJsonl } from './jsonl.ts';
import { type ColumnNames, columnNames, failAtLine, type Row, type Sample } from './row.ts';

/** Endings of data files, in the order in which they are looked for. */
export const DATA_FORMATS = ['jsonl', 'csv', 'tsv'] as const;

function formatOf(file: string): DelimitedFormat | 'jsonl' {
  const [, ending] = /\.(csv|tsv)$/i.exec(file) ?? [];
  return (ending?.toLowerCase() as DelimitedFormat | undefined) ?? 'jsonl';
}

/**
 * Rows of a data file: a table where its name ends in `.csv` or `.tsv`, else JSON Lines.
 * @param file its name, also what to call it in messages.
 * @throws FormatError `E_DATA` with file and line, saying what the line must be.
 */
export function parseRows(source: string, file: string, columns: ColumnNames = {}): Row[] {
  const format = formatOf(file);
  return format === 'jsonl'
    ? parseJsonl(source, file, columns)
    : parseDelimited(source, file, format, columns);
}

function hintOf(file: string, columns: ColumnNames): string {
  if (formatOf(file) === 'jsonl') return jsonlHint(columns);
  const { text, label } = columnNames(columns);
  return `the first line must name the columns "${text}" and "${label}", a row a line follow it`;
}

/**
 * As `parseRows`, for files that must have rows.
 * @throws FormatError `E_DATA` with file and line, and when there is no row at all.
 */
export function parseSomeRows(source: string, file: string, columns: ColumnNames = {}): Row[] {
  const rows = parseRows(source, file, columns);
  if (rows.length > 0) return rows;
  throw new FormatError(`data: ${file}: has no rows; ${hintOf(file, columns)}`, 'E_DATA');
}

/** A row that must have a label. @throws FormatError `E_DATA` with file and line */
export function withLabel<R extends Row>(
  row: R,
  file: string,
  columns: ColumnNames = {},
): R & Sample {
  const { label, shape, line } = row;
  if (shape !== undefined) {
    const what = shape === 'prompt' ? 'a prompt with its completion' : 'a conversation';
    failAtLine(file, line, `is ${what}, which has no class to learn; use --task lm`);
  }
  if (label !== undefined) return { ...row, label };
  const { label: name } = columnNames(columns);
  return failAtLine(file, line, `"${name}" is missing; ${hintOf(file, columns)}`);
}

/**
 * As `parseSomeRows`, for files in which every row must have a label.
 * @throws FormatError `E_DATA` with file and line, for a missing label too.
 */
export function parseSamples(
  source: string,
  file: string,
  columns: ColumnNames = {},
): (Sample & Row)[] {
  return parseSomeRows(source, file, columns).map((row) => withLabel(row, file, columns));
}
