import { z } from 'zod';
import { FormatError } from '../tensor/errors.ts';

/** One labelled row: a text or a pair of texts, and the name of its class. */
export interface Sample {
  readonly text: string;
  readonly textPair?: string;
  readonly label: string;
}

/** A row as a file holds it: the label may be absent where only predictions are wanted. */
export interface Row {
  readonly text: string;
  readonly textPair?: string;
  readonly label?: string;
  /** From 1. */
  readonly line: number;
}

const EXAMPLE = '{"text": "...", "label": "..."}';

const rowSchema = z.object({
  text: z.string(),
  text_pair: z.string().nullish(),
  label: z.union([z.string(), z.number(), z.boolean()]).nullish(),
});

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/**
 * Fails over a line of a data file.
 * @throws FormatError `E_DATA`, always: `data: FILE:LINE: MESSAGE`.
 */
export function failAtLine(file: string, line: number, message: string): never {
  throw new FormatError(`data: ${file}:${line}: ${message}`, 'E_DATA');
}

function parseLine(source: string, file: string, line: number): Row {
  const fail = (message: string) => failAtLine(file, line, message);
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const array = source.trim() === '[' ? ' (a JSON array? Write its objects one a line)' : '';
    return fail(`is not JSON: ${reason}; every line must be one object like ${EXAMPLE}${array}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return fail(`is ${kindOf(value)}; every line must be one object like ${EXAMPLE}`);
  }
  const parsed = rowSchema.safeParse(value);
  if (!parsed.success) {
    const field = String(parsed.error.issues[0]?.path[0]);
    const got = (value as Record<string, unknown>)[field];
    if (got === undefined) {
      const hint = 'prompt' in value ? ' (prompt and completion rows have no class to learn)' : '';
      return fail(`"${field}" is missing; every line must be one object like ${EXAMPLE}${hint}`);
    }
    const wanted = field === 'label' ? 'a string, a number or a boolean' : 'a string';
    return fail(`"${field}" must be ${wanted}, it is ${kindOf(got)}`);
  }
  const { text, text_pair, label } = parsed.data;
  if (text.trim() === '') return fail('"text" is empty; remove the line or fill it in');
  const name = label === undefined || label === null ? undefined : String(label);
  if (name !== undefined && name.trim() === '') return fail('"label" is empty; name a class');
  return { text, textPair: text_pair ?? undefined, label: name, line };
}

/**
 * Rows of a JSON Lines text, one object a line with `text`, optional `text_pair` and `label`
 * (string, number or boolean, taken as its name). Other keys are ignored, as are a byte order
 * mark, CR before LF, and blank lines.
 * @param file what to call it in messages.
 * @throws FormatError `E_DATA` with file and line, saying what the line must be.
 */
export function parseRows(source: string, file: string): Row[] {
  const rows: Row[] = [];
  // JSON strings cannot hold a raw line feed, so a line feed always ends a row.
  const lines = source.replace(/^\ufeff/, '').split('\n');
  lines.forEach((text, i) => {
    if (text.trim() !== '') rows.push(parseLine(text, file, i + 1));
  });
  return rows;
}

/**
 * As `parseRows`, for files in which every row must have a label.
 * @throws FormatError `E_DATA` with file and line, for a missing label too, and when there is no
 * row at all.
 */
export function parseSamples(source: string, file: string): (Sample & Row)[] {
  const rows = parseRows(source, file);
  if (rows.length === 0) {
    throw new FormatError(
      `data: ${file}: has no rows; every line must be one object like ${EXAMPLE}`,
      'E_DATA',
    );
  }
  return rows.map((row) => {
    const { label } = row;
    if (label === undefined) {
      return failAtLine(file, row.line, `"label" is missing; a row is an object like ${EXAMPLE}`);
    }
    return { ...row, label };
  });
}
