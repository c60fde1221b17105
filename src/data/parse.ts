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

/**
 * As `parseRows`, for files in which every row must have a label.
 * @throws FormatError `E_DATA` with file and line, for a missing label too, and when there is no
 * row at all.
 */
export function parseSamples(
  source: string,
  file: string,
  columns: ColumnNames = {},
): (Sample & Row)[] {
  const rows = parseRows(source, file, columns);
  const { text, label: labelName } = columnNames(columns);
  const hint =
    formatOf(file) === 'jsonl'
      ? jsonlHint(columns)
      : `the first line must name the columns "${text}" and "${labelName}", a row a line follow it`;
  if (rows.length === 0) throw new FormatError(`data: ${file}: has no rows; ${hint}`, 'E_DATA');
  return rows.map((row) => {
    const { label } = row;
    if (label === undefined) {
      return failAtLine(file, row.line, `"${labelName}" is missing; ${hint}`);
    }
    return { ...row, label };
  });
}
