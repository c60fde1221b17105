import { z } from 'zod';
import { FormatError } from '../tensor/errors.ts';

/** One turn of a conversation. */
export interface Turn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/**
 * What a row of a language model's data is: a text, all of which is learnt; a prompt with its
 * completion; a conversation, of which the assistant's turns are learnt.
 */
export type LmShape = 'text' | 'prompt' | 'messages';

/**
 * One row: a text or a pair of texts, and the name of its class. Of a language model's data the
 * label is a prompt's completion, else '', and a conversation stands in `messages`.
 */
export interface Sample {
  readonly text: string;
  readonly textPair?: string;
  readonly label: string;
  /** Of a conversation, whose `text` is the same as JSON. */
  readonly messages?: readonly Turn[];
}

/** A row as a file holds it: the label may be absent where only predictions are wanted. */
export interface Row {
  readonly text: string;
  readonly textPair?: string;
  readonly label?: string;
  readonly messages?: readonly Turn[];
  /** Set where the row's keys are those of prompts or conversations. */
  readonly shape?: Exclude<LmShape, 'text'>;
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

const TURNS = z
  .array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() }))
  .min(1);

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
 * The shape that keys or columns say, and where the fields then stand: a prompt as the text, its
 * completion as the label.
 * @param has whether there is such a key or column.
 */
export function shapeOf(
  has: (name: string) => boolean,
  columns: ColumnNames,
): { readonly shape?: Row['shape']; readonly columns: ColumnNames } {
  if (columns.text !== undefined || has(DEFAULT_NAMES.text)) return { columns };
  if (has('messages')) return { shape: 'messages', columns };
  const prompts = has('prompt') && has('completion');
  if (!prompts) return { columns };
  return { shape: 'prompt', columns: { text: 'prompt', label: 'completion' } };
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
  given: ColumnNames,
  hint: string,
): Row {
  const { shape, columns } = shapeOf((name) => fields.has(name), given);
  if (shape === 'messages') return conversation(fields, at);
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
  if (shape === 'prompt') return { text, label: name ?? '', shape, line: at.line };
  if (name?.trim() === '') return fail(`"${names.label}" is empty; name a class`);
  return { text, textPair, label: name, line: at.line };
}

function conversation(
  fields: ReadonlyMap<string, unknown>,
  { file, line }: { readonly file: string; readonly line: number },
): Row {
  const parsed = TURNS.safeParse(fields.get('messages'));
  if (!parsed.success) {
    const turn = '{"role": "system", "user" or "assistant", "content": "..."}';
    return failAtLine(file, line, `"messages" must be a list of turns like ${turn}`);
  }
  const messages = parsed.data;
  return { text: JSON.stringify(messages), messages, shape: 'messages', line };
}
