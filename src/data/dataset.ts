import { FormatError } from '../tensor/errors.ts';
import { failAtLine, parseSamples, type Row, type Sample } from './jsonl.ts';
import { stratifiedSplit } from './split.ts';

/** Reads a text file; given from outside, since this folder runs in a browser too. */
export type ReadText = (path: string) => Promise<string>;

/** A classification task: its classes and its rows. */
export interface Dataset {
  /** The folder it came from. */
  readonly folder: string;
  /** Class names in the order of `labelSet`; a class's index is its place here. */
  readonly labels: readonly string[];
  readonly train: readonly Sample[];
  /** `valid.jsonl`, or a stratified part of `train.jsonl` where there is none. */
  readonly valid: readonly Sample[];
  /** True when `valid` was taken out of `train.jsonl`. */
  readonly validFromTrain: boolean;
  /** `test.jsonl`, where there is one. */
  readonly test: readonly Sample[] | undefined;
  /** True when every row of every file has a `text_pair`; false when none has. */
  readonly pairs: boolean;
}

/** What `loadDataset` needs to know. */
export interface DatasetOptions {
  readonly readText: ReadText;
  /** Part of each class of `train.jsonl` that validates where `valid.jsonl` is missing; 0.1. */
  readonly validFraction?: number;
  /** Decides which rows those are; 0. */
  readonly seed?: number;
}

const INTEGER = /^-?\d{1,15}$/;
/** Class names named in a message before it says how many more there are. */
const NAMED = 12;

/**
 * The classes of some rows in the order that fixes their indices: sorted, by value when all are
 * whole numbers, else by UTF-16 code units. It depends on the set alone, so shuffling a file
 * changes no adapter.
 */
export function labelSet(rows: Iterable<{ readonly label: string }>): string[] {
  const names = [...new Set(Array.from(rows, ({ label }) => label))];
  if (names.every((name) => INTEGER.test(name))) return names.sort((a, b) => Number(a) - Number(b));
  return names.sort();
}

function naming(labels: readonly string[]): string {
  const more = labels.length > NAMED ? ` and ${labels.length - NAMED} more` : '';
  return `${labels.slice(0, NAMED).join(', ')}${more}`;
}

function checkLabels(file: string, rows: readonly (Sample & Row)[], labels: readonly string[]) {
  const known = new Set(labels);
  for (const { label, line } of rows) {
    if (known.has(label)) continue;
    const problem = `label "${label}" was not seen in training; known are ${naming(labels)}`;
    failAtLine(file, line, `${problem}; correct the row or add rows of that class to train.jsonl`);
  }
}

function checkPairs(file: string, rows: readonly Row[], pairs: boolean): void {
  const odd = rows.find((row) => (row.textPair !== undefined) !== pairs);
  if (odd === undefined) return;
  const problem = pairs ? 'is missing, other rows have one' : 'is there, other rows have none';
  failAtLine(file, odd.line, `"text_pair" ${problem}; give it to all rows or to none`);
}

/** The row without where it stood, which nothing after reading needs. */
function sampleOf({ text, textPair, label }: Sample): Sample {
  return textPair === undefined ? { text, label } : { text, textPair, label };
}

function isMissing(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return code === 'E_NOT_FOUND' || code === 'ENOENT';
}

/**
 * Labelled rows of one file, every label among `labels`.
 * @throws FormatError `E_DATA` with file and line; what `readText` throws when there is no file.
 */
export async function loadSamples(
  path: string,
  labels: readonly string[],
  readText: ReadText,
): Promise<Sample[]> {
  const rows = parseSamples(await readText(path), path);
  checkLabels(path, rows, labels);
  checkPairs(path, rows, rows[0]?.textPair !== undefined);
  return rows.map(sampleOf);
}

/**
 * Loads a folder with `train.jsonl` and, where they are there, `valid.jsonl` and `test.jsonl`.
 * Classes are those of `train.jsonl`.
 * @throws FormatError `E_DATA`, with file and line where one is to blame: no `train.jsonl`, an
 * empty file, a malformed row, fewer than two classes, a label that training does not have,
 * `text_pair` on some rows only.
 */
export async function loadDataset(folder: string, options: DatasetOptions): Promise<Dataset> {
  const { readText, validFraction = 0.1, seed = 0 } = options;
  const pathOf = (name: string) => `${folder.replace(/\/+$/, '')}/${name}.jsonl`;
  const load = async (name: string): Promise<(Sample & Row)[] | undefined> => {
    let source: string;
    try {
      source = await readText(pathOf(name));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    return parseSamples(source, pathOf(name));
  };
  const train = await load('train');
  if (train === undefined) {
    throw new FormatError(
      `data: ${pathOf('train')}: not found; a data folder holds train.jsonl and, if you like, valid.jsonl and test.jsonl`,
      'E_DATA',
    );
  }
  const labels = labelSet(train);
  if (labels.length < 2) {
    throw new FormatError(
      `data: ${pathOf('train')}: all ${train.length} rows have the label "${labels[0]}"; at least two classes are needed`,
      'E_DATA',
    );
  }
  const pairs = train[0]?.textPair !== undefined;
  checkPairs(pathOf('train'), train, pairs);
  const others: Record<'valid' | 'test', (Sample & Row)[] | undefined> = {
    valid: await load('valid'),
    test: await load('test'),
  };
  for (const name of ['valid', 'test'] as const) {
    checkLabels(pathOf(name), others[name] ?? [], labels);
    checkPairs(pathOf(name), others[name] ?? [], pairs);
  }
  const rest = { folder, labels, pairs, test: others.test?.map(sampleOf) };
  const samples = train.map(sampleOf);
  if (others.valid !== undefined) {
    const valid = others.valid.map(sampleOf);
    return { ...rest, train: samples, valid, validFromTrain: false };
  }
  const split = stratifiedSplit(
    samples.map(({ label }) => label),
    validFraction,
    seed,
  );
  return {
    ...rest,
    train: split.train.map((i) => samples[i]),
    valid: split.valid.map((i) => samples[i]),
    validFromTrain: true,
  };
}
