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
  /** Where the row begins, from 1. */
  readonly line: number;
}

/** Which columns (keys, in JSON Lines) hold what. */
export interface ColumnNames {
  /** `text` unless said otherwise. */
  readonly text?: string;
  /** `text_pair` where a row has one; a column that is named here must be in every row. */
  readonly textPair?: string;
  /** `label` unless said otherwise. */
  readonly label?: string;
}

type Field = 'text' | 'textPair' | 'label';

const DEFAULT_NAMES: Required<ColumnNames> = {
  text: 'text',
  textPair: 'text_pair',
  label: 'label',
};

const FIELDS = {
  text: z.string(),
  textPair: z.string().nullish(),
  label: z.union([z.string(), z.number(), z.boolean()]).nullish(),
};

/** The column of each field, defaults filled in. */
export function columnNames(columns: ColumnNames): Required<ColumnNames> {
  const { text, textPair, label } = DEFAULT_NAMES;
  return {
    text: columns.text ?? text,
    textPair: columns.textPair ?? textPair,
    label: columns.label ?? label,
  };
}

/**
 * Fails over a line of a data file.
 * @throws FormatError `E_DATA`, always: `data: FILE:LINE: MESSAGE`.
 */
export function failAtLine(file: string, line: number, message: string): never {
  throw new FormatError(`data: ${file}:${line}: ${message}`, 'E_DATA');
}

/** What a JSON value is, with its article. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/**
 * A row out of the fields of a line: numbers and booleans are taken as a label's name.
 * @param fields by column; other columns are ignored.
 * @param hint what a line must be, for messages about a column that is missing.
 * @throws FormatError `E_DATA` with file and line.
 */
export function rowOf(
  fields: ReadonlyMap<string, unknown>,
  at: { readonly file: string; readonly line: number },
  columns: ColumnNames,
  hint: string,
): Row {
  const names = columnNames(columns);
  const fail = (message: string) => failAtLine(at.file, at.line, message);
  const field = <F extends Field>(which: F): z.infer<(typeof FIELDS)[F]> => {
    const value = fields.get(names[which]);
    const absent = value === undefined || (which === 'textPair' && value === null);
    if (absent && (which === 'text' || (which === 'textPair' && columns.textPair !== undefined))) {
      return fail(`"${names[which]}" is missing; ${hint}`);
    }
    const parsed = FIELDS[which].safeParse(value);
    if (!parsed.success) {
      const kinds = which === 'label' ? 'a string, a number or a boolean' : 'a string';
      return fail(`"${names[which]}" must be ${kinds}, it is ${kindOf(value)}`);
    }
    return parsed.data as z.infer<(typeof FIELDS)[F]>;
  };
  const text = field('text');
  const textPair = field('textPair') ?? undefined;
  const label = field('label') ?? undefined;
  if (text.trim() === '') return fail(`"${names.text}" is empty; remove the line or fill it in`);
  const name = label === undefined ? undefined : String(label);
  if (name?.trim() === '') return fail(`"${names.label}" is empty; name a class`);
  return { text, textPair, label: name, line: at.line };
}
