import { FormatError, UsageError } from '../tensor/errors.ts';
import { DATA_FORMATS, parseSomeRows, withLabel } from './parse.ts';
import {
  type ColumnNames,
  columnNames,
  failAtLine,
  type LmShape,
  type Row,
  type Sample,
} from './row.ts';
import { stratifiedSplit } from './split.ts';
import { numberOf, type Task, taskOf } from './task.ts';

/** Reads a text file; given from outside, since this folder runs in a browser too. */
export type ReadText = (path: string) => Promise<string>;

/** Names of the files in a folder; undefined where there is no such folder. Given from outside likewise. */
export type ListFiles = (folder: string) => Promise<readonly string[] | undefined>;

/** A task: its rows, and its classes where it has any. */
export interface Dataset {
  /** The folder it came from, or the one file. */
  readonly folder: string;
  readonly task: Task;
  /** Class names in the order of `labelSet`; a class's index is its place here. None of numbers. */
  readonly labels: readonly string[];
  readonly train: readonly Sample[];
  /** The file `valid`, or a stratified part of `train` where there is none. */
  readonly valid: readonly Sample[];
  /** True when `valid` was taken out of the file `train`. */
  readonly validFromTrain: boolean;
  /** The file `test`, where there is one. */
  readonly test: readonly Sample[] | undefined;
  /** True when every row of every file has a `text_pair`; false when none has. */
  readonly pairs: boolean;
  /** What every row is, of a language model's data. */
  readonly shape?: LmShape;
}

/** What `loadDataset` needs to know. */
export interface DatasetOptions {
  readonly readText: ReadText;
  /** With it a part may also be a folder of files, `train/*.jsonl`, read in the order of their names. */
  readonly listFiles?: ListFiles;
  /** Columns, or keys, of text, second text and label; `text`, `text_pair`, `label`. */
  readonly columns?: ColumnNames;
  /** What is learnt. Unless given: the next token where rows have no labels, else by `taskOf`. */
  readonly task?: Task;
  /** Part of each class of the training file that validates where there is no other; 0.1. */
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

/** A row and the file it stands in. */
interface LocatedRow extends Row {
  readonly file: string;
}

/** A part of the data: its rows, of one file or of several. */
interface Part {
  /** The file or folder, to name it in messages. */
  readonly path: string;
  readonly rows: readonly LocatedRow[];
}

function checkLabels(rows: readonly (Sample & LocatedRow)[], labels: readonly string[]): void {
  const known = new Set(labels);
  for (const { label, file, line } of rows) {
    if (known.has(label)) continue;
    const problem = `label "${label}" was not seen in training; known are ${naming(labels)}`;
    failAtLine(
      file,
      line,
      `${problem}; correct the row or add rows of that class to the training file`,
    );
  }
}

/** Fails over a label that is no number. */
function checkNumbers(rows: readonly (Sample & LocatedRow)[]): void {
  const odd = rows.find(({ label }) => numberOf(label) === undefined);
  if (odd === undefined) return;
  const problem = `label "${odd.label}" is no number, and numbers are to be predicted`;
  failAtLine(odd.file, odd.line, `${problem}; correct the row, or use --task classification`);
}

function checkPairs(rows: readonly LocatedRow[], pairs: boolean, columns: ColumnNames = {}): void {
  const odd = rows.find((row) => (row.textPair !== undefined) !== pairs);
  if (odd === undefined) return;
  const problem = pairs ? 'is missing, other rows have one' : 'is there, other rows have none';
  const name = columnNames(columns).textPair;
  failAtLine(odd.file, odd.line, `"${name}" ${problem}; give it to all rows or to none`);
}

/** The row without where it stood, which nothing after reading needs. */
function sampleOf({ text, textPair, label }: Sample): Sample {
  return textPair === undefined ? { text, label } : { text, textPair, label };
}

function isMissing(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return code === 'E_NOT_FOUND' || code === 'ENOENT';
}

interface DataFile {
  readonly path: string;
  readonly source: string;
}

const ENDING = new RegExp(`\\.(${DATA_FORMATS.join('|')})$`, 'i');

type Reading = Pick<DatasetOptions, 'readText' | 'listFiles' | 'columns'>;

/** The rows of a part: of the one file called `name` with an ending of `DATA_FORMATS`, or the folder. */
async function findPart(folder: string, name: string, reading: Reading): Promise<Part | undefined> {
  const { readText, listFiles, columns } = reading;
  const found: { path: string; files: DataFile[] }[] = [];
  for (const ending of DATA_FORMATS) {
    const path = `${pathIn(folder, name)}.${ending}`;
    try {
      found.push({ path, files: [{ path, source: await readText(path) }] });
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  const inside = pathIn(folder, name);
  const names = await listFiles?.(inside);
  if (names !== undefined) {
    const paths = names.filter((one) => ENDING.test(one)).sort();
    if (paths.length === 0) {
      const endings = DATA_FORMATS.map((ending) => `.${ending}`).join(', ');
      throw new FormatError(`data: ${inside}: holds no file that ends in ${endings}`, 'E_DATA');
    }
    const files: DataFile[] = [];
    for (const one of paths) {
      const path = pathIn(inside, one);
      files.push({ path, source: await readText(path) });
    }
    found.push({ path: inside, files });
  }
  const [first, second] = found;
  if (second !== undefined) {
    const problem = `${first.path} is there as well; remove one of them`;
    throw new FormatError(`data: ${second.path}: ${problem}`, 'E_DATA');
  }
  return first && partOf(first.path, first.files, columns);
}

function partOf(path: string, files: readonly DataFile[], columns: ColumnNames = {}): Part {
  const rows = files.flatMap((file) =>
    parseSomeRows(file.source, file.path, columns).map((row) => ({ ...row, file: file.path })),
  );
  return { path, rows };
}

function pathIn(folder: string, name: string): string {
  return `${folder.replace(/\/+$/, '')}/${name}`;
}

/** That there is no file of this name, in the words of an error. */
function notFound(folder: string, name: string): string {
  const [first, ...others] = DATA_FORMATS.map((ending) => `${name}.${ending}`);
  return `data: ${pathIn(folder, first)}: not found, nor is there ${others.join(' or ')}`;
}

/**
 * Labelled rows of one file, every label among `labels`, or a number where there are none.
 * @throws FormatError `E_DATA` with file and line; what `readText` throws when there is no file.
 */
export async function loadSamples(
  path: string,
  labels: readonly string[],
  readText: ReadText,
  columns: ColumnNames = {},
): Promise<Sample[]> {
  const part = partOf(path, [{ path, source: await readText(path) }], columns);
  return samplesOf(part, labels, columns);
}

const labelled = ({ rows }: Part, columns: ColumnNames): (Sample & LocatedRow)[] =>
  rows.map((row) => withLabel(row, row.file, columns));

/** What a language model's rows are, by the first of them. */
function lmShapeOf([first]: readonly Row[], columns: ColumnNames): LmShape {
  // Whoever names a column for labels means what is to be answered.
  return first?.shape ?? (columns.label === undefined ? 'text' : 'prompt');
}

/** Rows of a language model's data, all of one shape. */
function lmSamples({ rows }: Part, shape: LmShape, columns: ColumnNames): Sample[] {
  return rows.map(({ text, label = '', messages, file, line, ...row }) => {
    if (lmShapeOf([{ text, line, ...row }], columns) !== shape) {
      failAtLine(file, line, `is not of the shape of other rows, which is ${SHAPES[shape]}`);
    }
    if (shape === 'messages') return { text, label: '', messages };
    return { text, label: shape === 'prompt' ? label : '' };
  });
}

const SHAPES: Readonly<Record<LmShape, string>> = {
  text: '{"text"}',
  prompt: '{"prompt", "completion"}',
  messages: '{"messages"}',
};

function samplesOf(part: Part, labels: readonly string[], columns: ColumnNames): Sample[] {
  const rows = labelled(part, columns);
  if (labels.length === 0) checkNumbers(rows);
  else checkLabels(rows, labels);
  checkPairs(rows, rows[0]?.textPair !== undefined, columns);
  return rows.map(sampleOf);
}

/**
 * Rows of a folder's part `name`, every label as `loadSamples` has it, or of a language model's data
 * all of `shape`; a file is JSON Lines, csv or tsv, as its ending says. Where `folder` is itself such
 * a file, its rows.
 * @throws FormatError `E_DATA` with file and line; UsageError `E_NOT_FOUND` when there is no file.
 */
export async function loadSplit(
  folder: string,
  name: string,
  labels: readonly string[],
  options: Pick<DatasetOptions, 'readText' | 'listFiles' | 'columns'> & {
    readonly shape?: LmShape;
  },
): Promise<Sample[]> {
  const { columns = {}, shape, readText } = options;
  const part = ENDING.test(folder)
    ? partOf(folder, [{ path: folder, source: await readText(folder) }], columns)
    : await findPart(folder, name, options);
  if (part === undefined) throw new UsageError(notFound(folder, name), 'E_NOT_FOUND');
  return shape ? lmSamples(part, shape, columns) : samplesOf(part, labels, columns);
}

/**
 * Loads a folder with a file `train` and, where they are there, `valid` and `test`, each as
 * `.jsonl`, `.csv` or `.tsv`, or with `listFiles` as a folder of such files. Where `folder` is itself
 * such a file, its rows are for training. Classes are those of `train`; a language model's data has none.
 * @throws FormatError `E_DATA`, with file and line where one is to blame: no training file, two for
 * one part, an empty file, a malformed row, fewer than two classes, a label that training does not
 * have, or that is no number in a regression, a second text on some rows only, rows of several shapes.
 */
export async function loadDataset(folder: string, options: DatasetOptions): Promise<Dataset> {
  const { readText, columns = {}, validFraction = 0.1, seed = 0 } = options;
  const single = ENDING.test(folder);
  const load = (name: string) => findPart(folder, name, options);
  const train = single
    ? partOf(folder, [{ path: folder, source: await readText(folder) }], columns)
    : await load('train');
  if (train === undefined) {
    throw new FormatError(
      `${notFound(folder, 'train')}; a data folder holds one of them and, if you like, valid and test likewise`,
      'E_DATA',
    );
  }
  const others: { valid?: Part; test?: Part } = single
    ? {}
    : { valid: await load('valid'), test: await load('test') };
  const bare =
    columns?.label === undefined &&
    train.rows.every(({ label, shape }) => label === undefined || shape !== undefined);
  if (options.task === 'lm' || (options.task === undefined && bare)) {
    const shape = lmShapeOf(train.rows, columns);
    const samples = (part: Part) => lmSamples(part, shape, columns);
    const rest = { folder, task: 'lm', labels: [], pairs: false, shape } as const;
    const test = others.test && samples(others.test);
    return withValid({ ...rest, test }, samples(train), others.valid && samples(others.valid), {
      validFraction,
      seed,
    });
  }
  const trainRows = labelled(train, columns);
  const different = labelSet(trainRows);
  const { task = taskOf(different) } = options;
  if (task === 'regression') checkNumbers(trainRows);
  const count = task === 'regression' ? new Set(different.map(Number)).size : different.length;
  if (count < 2) {
    const needed = task === 'regression' ? 'two numbers' : 'two classes';
    throw new FormatError(
      `data: ${train.path}: all ${train.rows.length} rows have the label "${different[0]}"; at least ${needed} are needed`,
      'E_DATA',
    );
  }
  const labels = task === 'regression' ? [] : different;
  const pairs = train.rows[0]?.textPair !== undefined;
  checkPairs(train.rows, pairs, columns);
  const checked = (part: Part): Sample[] => {
    const rows = labelled(part, columns);
    if (task === 'regression') checkNumbers(rows);
    else checkLabels(rows, labels);
    checkPairs(rows, pairs, columns);
    return rows.map(sampleOf);
  };
  const valid = others.valid && checked(others.valid);
  const rest = { folder, task, labels, pairs, test: others.test && checked(others.test) };
  return withValid(rest, trainRows.map(sampleOf), valid, { validFraction, seed });
}

/** The dataset with the rows that validate, which are taken out of the training rows where there are none. */
function withValid(
  rest: Omit<Dataset, 'train' | 'valid' | 'validFromTrain'>,
  samples: readonly Sample[],
  valid: readonly Sample[] | undefined,
  { validFraction, seed }: { validFraction: number; seed: number },
): Dataset {
  if (valid) return { ...rest, train: samples, valid, validFromTrain: false };
  const split = stratifiedSplit(
    // Only classes are to be kept in proportion.
    samples.map(({ label }) => (rest.task === 'classification' ? label : '')),
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
