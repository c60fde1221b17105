import { type CsvError, type Options, parse } from 'csv-parse/browser/esm/sync';
import { type ColumnNames, columnNames, failAtLine, type Row, rowOf, shapeOf } from './row.ts';

/**
 * Tables as text: `csv` by RFC 4180 (commas, fields in double quotes where they hold commas, quotes
 * or line breaks), `tsv` by IANA's text/tab-separated-values (tabs, no quoting: a quote is a
 * character like others).
 */
export type DelimitedFormat = 'csv' | 'tsv';

/** Reasons in our words, by the library's code. */
const REASONS: Readonly<Record<string, string>> = {
  INVALID_OPENING_QUOTE:
    'a quote stands inside a field that is not quoted; put the whole field in quotes and double those inside',
  CSV_INVALID_CLOSING_QUOTE:
    'text follows a closing quote; double the quotes inside a quoted field',
  CSV_QUOTE_NOT_CLOSED: 'a quoted field is never closed',
};

interface Line {
  /** Where the record begins, from 1. */
  readonly line: number;
  readonly cells: readonly string[];
}

function records(source: string, file: string, format: DelimitedFormat): Line[] {
  const lines: Line[] = [];
  let next = 1;
  const options: Options = {
    delimiter: format === 'csv' ? ',' : '\t',
    quote: format === 'csv' ? '"' : false,
    record_delimiter: '\n',
    // Counted below, where the message can name the header's number.
    relax_column_count: true,
    on_record: (cells: string[], { lines: end }) => {
      lines.push({ line: next, cells });
      next = end + 1;
      return null;
    },
  };
  try {
    parse(source, options);
  } catch (error) {
    const reason = REASONS[(error as CsvError).code];
    if (reason === undefined) throw error;
    failAtLine(file, next, reason);
  }
  // A blank line is a record of one empty cell.
  return lines.filter(({ cells }) => cells.length > 1 || cells[0].trim() !== '');
}

/** Where the columns that are read stand. */
function readHeader(
  { line, cells }: Line,
  file: string,
  given: ColumnNames,
): ReadonlyMap<string, number> {
  const { shape, columns } = shapeOf((name) => cells.includes(name), given);
  const fail = (message: string) => failAtLine(file, line, message);
  if (shape === 'messages') fail('a table holds no conversations; write them as JSON Lines');
  const names = columnNames(columns);
  const list = cells.map((cell) => JSON.stringify(cell)).join(', ');
  const places = new Map<string, number>();
  for (const name of Object.values(names)) {
    const at = cells.indexOf(name);
    if (at !== cells.lastIndexOf(name)) fail(`two columns are called "${name}"`);
    if (at >= 0) places.set(name, at);
  }
  // A label may be absent where only predictions are wanted.
  const wanted = [names.text, columns.textPair, columns.label];
  for (const name of wanted) {
    if (name === undefined || places.has(name)) continue;
    fail(`no column is called "${name}"; the first line must name the columns, it has ${list}`);
  }
  return places;
}

/**
 * Rows of a table in text: the first line names the columns, of which `text`, `text_pair` and
 * `label`, or those that `columns` names, are read. A byte order mark and blank lines are ignored;
 * CR LF and CR are read as LF, inside quoted fields too.
 * @param file what to call it in messages.
 * @throws FormatError `E_DATA` with file and the line where the row begins.
 */
export function parseDelimited(
  source: string,
  file: string,
  format: DelimitedFormat,
  columns: ColumnNames = {},
): Row[] {
  const plain = source.replace(/^\ufeff/, '').replace(/\r\n?/g, '\n');
  const [header, ...lines] = records(plain, file, format);
  if (header === undefined) return [];
  const places = readHeader(header, file, columns);
  const width = header.cells.length;
  return lines.map(({ line, cells }) => {
    if (cells.length !== width) {
      const quotes = format === 'csv' ? '; a field with commas must be in quotes' : '';
      failAtLine(file, line, `has ${cells.length} fields, the first line ${width}${quotes}`);
    }
    const fields = new Map(Array.from(places, ([name, at]) => [name, cells[at]]));
    return rowOf(fields, { file, line }, columns, 'see the first line');
  });
}
