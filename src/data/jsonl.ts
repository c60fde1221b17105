import { type ColumnNames, columnNames, failAtLine, kindOf, type Row, rowOf } from './row.ts';

/** What a line must be, for messages. */
export function jsonlHint(columns: ColumnNames): string {
  const { text, textPair, label } = columnNames(columns);
  const pair = columns.textPair === undefined ? '' : `${JSON.stringify(textPair)}: "...", `;
  return `every line must be one object like {${JSON.stringify(text)}: "...", ${pair}${JSON.stringify(label)}: "..."}`;
}

function parseLine(source: string, file: string, line: number, columns: ColumnNames): Row {
  const fail = (message: string) => failAtLine(file, line, message);
  const hint = jsonlHint(columns);
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const array = source.trim() === '[' ? ' (a JSON array? Write its objects one a line)' : '';
    return fail(`is not JSON: ${reason}; ${hint}${array}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return fail(`is ${kindOf(value)}; ${hint}`);
  }
  const prompt = 'prompt' in value ? ' (with a "prompt" goes a "completion")' : '';
  const fields = new Map(Object.entries(value));
  return rowOf(fields, { file, line }, columns, `${hint}${prompt}`);
}

/**
 * Rows of a JSON Lines text, one object a line with `text`, optional `text_pair` and `label`
 * (string, number or boolean, taken as its name), or the keys that `columns` names. Other keys are
 * ignored, as are a byte order mark, CR before LF, and blank lines.
 * @param file what to call it in messages.
 * @throws FormatError `E_DATA` with file and line, saying what the line must be.
 */
export function parseJsonl(source: string, file: string, columns: ColumnNames = {}): Row[] {
  const rows: Row[] = [];
  // JSON strings cannot hold a raw line feed, so a line feed always ends a row.
  const lines = source.replace(/^\ufeff/, '').split('\n');
  lines.forEach((text, i) => {
    if (text.trim() !== '') rows.push(parseLine(text, file, i + 1, columns));
  });
  return rows;
}
