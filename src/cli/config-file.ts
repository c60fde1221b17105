import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError, type Option } from 'commander';
import { closest, distance } from 'fastest-levenshtein';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, stringify } from 'yaml';
import { fileError } from '../platform/node.ts';
import { UsageError } from '../tensor/errors.ts';
import { isNumberOrWordParser, isNumberParser } from './flags.ts';
import { VERSION } from './version.ts';

/** Options that no file may hold: a file that names files, a secret, what prints and ends. */
const NOT_IN_FILES = new Set(['config', 'token', 'help', 'version', 'debug']);

/** Options that say how a run is watched and not what it makes. */
const NOT_SAVED = new Set(['json', 'trace', 'dry-run', 'resume', 'restart', 'config', 'token']);

/** Options whose value is taken from a file as it is: YAML has escapes of its own. */
const VERBATIM = new Set(['template']);

/** A key further from every name than this share of its letters is nobody's misspelling. */
const NEAREST_SHARE = 0.5;

/** What a flag holds after parsing: scalars, or a list of words. */
export type ConfigValue = string | number | boolean | readonly (string | number)[];

/** The key of an option in a configuration file: its name without dashes, and without `no-`. */
function keyOf(option: Option): string {
  return option.negate ? option.name().replace(/^no-/, '') : option.name();
}

function keysOf(command: Command): Map<string, Option> {
  return new Map(
    command.options
      .filter((option) => !NOT_IN_FILES.has(option.name()))
      .map((option) => [keyOf(option), option]),
  );
}

/**
 * Adds `--config FILE`: a YAML file whose keys are the command's flags without their dashes. What
 * is given on the command line wins over the file, whichever comes first.
 */
export function addConfigFlag(command: Command): Command {
  command.option('--config <file>', 'YAML file with flags as keys; flags given here win');
  command.on('option:config', (file: string) => applyConfig(command, file));
  return command;
}

/**
 * Takes a configuration file's values over into a command that is being parsed. Keys that only
 * another command has are skipped, so that one file may serve all.
 * @throws UsageError `E_CONFIG` with file and line: not YAML, an unknown key, a value of the wrong
 * type or out of range; `E_NOT_FOUND` and the like where it cannot be read.
 */
export function applyConfig(command: Command, file: string): void {
  const keys = keysOf(command);
  const others = new Set(
    (command.parent?.commands ?? [])
      .filter(({ options }) => options.some((option) => option.name() === 'config'))
      .flatMap((other) => [...keysOf(other).keys()]),
  );
  for (const { key, value, line } of readEntries(file)) {
    const option = keys.get(key);
    if (option === undefined) {
      if (others.has(key)) continue;
      fail(
        file,
        line,
        `unknown key ${JSON.stringify(key)}; ${hint(key, [...keys.keys()], command)}`,
      );
    }
    const attribute = option.attributeName();
    const source = command.getOptionValueSource(attribute);
    const parsed = flagValue(option, value, (message) => fail(file, line, `${key}: ${message}`));
    if (source === 'cli') continue;
    command.setOptionValueWithSource(attribute, parsed, 'config');
  }
}

function fail(file: string, line: number, message: string): never {
  throw new UsageError(`config: ${file}:${line}: ${message}`, 'E_CONFIG');
}

function hint(key: string, known: readonly string[], command: Command): string {
  if (key === 'token') return 'a secret does not belong here, set MOBILLM_TOKEN';
  const nearest = closest(key, known);
  return distance(key, nearest) <= NEAREST_SHARE * key.length
    ? `did you mean "${nearest}"?`
    : `keys are the flags of mobillm ${command.name()} --help, without their dashes`;
}

interface Entry {
  readonly key: string;
  readonly value: unknown;
  readonly line: number;
}

function readEntries(file: string): Entry[] {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    throw fileError('--config', file, error);
  }
  const lines = new LineCounter();
  const document = parseDocument(source.replace(/^\ufeff/, ''), { lineCounter: lines });
  const lineOf = (node: unknown) => lines.linePos((node as Node | null)?.range?.[0] ?? 0).line || 1;
  const [error] = document.errors;
  if (error) {
    const [at] = error.linePos ?? [{ line: 1 }];
    fail(file, at.line, `is not YAML: ${error.message.split('\n')[0].replace(/ at line .*$/, '')}`);
  }
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  if (!isMap(contents)) fail(file, lineOf(contents), 'must be keys and values, as in "epochs: 5"');
  return contents.items.map(({ key, value }) => {
    const line = lineOf(key);
    const name = isScalar(key) ? key.value : undefined;
    if (typeof name !== 'string') fail(file, line, 'a key must be the name of a flag');
    const plain = isScalar(value) || isSeq(value) ? value.toJS(document) : undefined;
    return { key: name, value: plain === undefined ? {} : plain, line };
  });
}

/** What a value is, in YAML's words. */
function kindOf(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'keys and values';
  return typeof value === 'string' ? `the text ${JSON.stringify(value)}` : String(value);
}

/** A value of the file as the flag would have it; `refuse` never returns. */
function flagValue(option: Option, value: unknown, refuse: (message: string) => never): unknown {
  const wants = (what: string) => refuse(`must be ${what}, it is ${kindOf(value)}`);
  if (option.isBoolean() || option.negate) {
    return typeof value === 'boolean' ? value : wants('true or false');
  }
  const isScalarValue = typeof value === 'string' || typeof value === 'number';
  if (isNumberParser(option.parseArg)) {
    if (typeof value !== 'number') wants('a number');
  } else if (option.flags.includes('<list>')) {
    const isList = Array.isArray(value) && value.length > 0;
    const plain = isList && value.every((one) => ['string', 'number'].includes(typeof one));
    if (!plain && !isScalarValue) wants('a list');
  } else if (option.argChoices) {
    if (!isScalarValue) wants(`one of ${option.argChoices.join(', ')}`);
  } else if (
    typeof value !== 'string' &&
    !(isScalarValue && isNumberOrWordParser(option.parseArg))
  ) {
    wants(typeof value === 'number' ? 'a text, in quotes' : 'a text');
  }
  if (VERBATIM.has(option.name())) return value;
  const text = Array.isArray(value) ? value.join(',') : String(value);
  try {
    return option.parseArg ? option.parseArg(text, undefined as never) : text;
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    return refuse(`${error.message} It is ${kindOf(value)}.`);
  }
}

/** An address without the name and password that may stand in it. */
function withoutSecret(value: unknown): unknown {
  if (typeof value !== 'string' || !/^wss?:\/\/[^/]*@/.test(value)) return value;
  const url = new URL(value);
  url.username = '';
  url.password = '';
  return url.href;
}

/**
 * The flags of a command that ran, defaults and all, as a configuration file that runs it again.
 * Secrets are left out, and what only says how the run is watched.
 * @param resolved by key, what became of flags that depend on more than themselves.
 */
export function configText(
  command: Command,
  resolved: Readonly<Record<string, ConfigValue>>,
): string {
  const values: Record<string, unknown> = {};
  for (const [key, option] of keysOf(command)) {
    if (NOT_SAVED.has(option.name())) continue;
    const value = resolved[key] ?? command.getOptionValue(option.attributeName());
    if (value !== undefined) values[key] = withoutSecret(value);
  }
  const head = `# What the adapter beside this was made with, by mobillm ${VERSION}. To run it again:\n# mobillm ${command.name()} --config config.yaml\n`;
  return head + stringify(values, { lineWidth: 0, collectionStyle: 'any' });
}
