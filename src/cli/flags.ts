import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { unescapeTemplate } from '../data/template.ts';
import type { TapKind } from '../device/index.ts';
import { TAP_KINDS } from '../device/tap-kinds.ts';
import type { ModelFamily } from '../model/index.ts';
import { ACTIVATION_BITS } from '../quant/codec.ts';
import type { ActivationBits } from '../quant/index.ts';
import { MOST_THREADS } from '../tensor/backends/wasm/index.ts';
import type { WeightPlace } from './packed-models.ts';

/** Parsers of numbers: a configuration file has to hold a number where one of them stands. */
const NUMBER_PARSERS = new WeakSet<object>();

/** Parsers of flags that are a number or a word. */
const NUMBER_OR_WORD_PARSERS = new WeakSet<object>();

/** Whether a configuration file may hold a number or a text for a flag with that parser. */
export function isNumberOrWordParser(parse: object | undefined): boolean {
  return parse !== undefined && NUMBER_OR_WORD_PARSERS.has(parse);
}

/** Whether a flag's parser is one that `integer` or `decimal` made. */
export function isNumberParser(parse: object | undefined): boolean {
  return parse !== undefined && NUMBER_PARSERS.has(parse);
}

function numberParser(parse: (text: string) => number): (text: string) => number {
  NUMBER_PARSERS.add(parse);
  return parse;
}

/** A whole number of at least `min`. */
export function integer(min: number): (text: string) => number {
  return numberParser((text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`It must be a whole number of at least ${min}.`);
    }
    return value;
  });
}

/** A number in [min, max]; `exclusive` leaves min itself out. */
export function decimal(
  min: number,
  max = Number.MAX_VALUE,
  exclusive = false,
): (text: string) => number {
  return numberParser((text) => {
    const value = Number(text);
    if (text.trim() === '' || !(value <= max) || !(exclusive ? value > min : value >= min)) {
      throw new InvalidArgumentError(
        `It must be a number ${exclusive ? 'above' : 'of at least'} ${min}${max < Number.MAX_VALUE ? `, at most ${max}` : ''}.`,
      );
    }
    return value;
  });
}

/** The chosen layers of a model that has so many, ascending; known only once the model is. */
export type LayerChoice = (numHiddenLayers: number) => number[];

/**
 * Reads a list of layers: `auto`, `all`, `last`, or numbers and ranges, `8,10,12` or `8-30/2`.
 * `auto` is every second one of the upper three quarters: as accurate as all of them at 0.4 of the
 * bytes.
 * @throws InvalidArgumentError for anything else
 */
export function layerChoice(text: string): LayerChoice {
  const parts = text.split(',').map((part) => part.trim());
  const ranges = parts.map((part) => {
    if (part === 'auto' || part === 'all' || part === 'last') return part;
    const match = /^(\d+)(?:-(\d+)(?:\/(\d+))?)?$/.exec(part);
    if (!match) {
      throw new InvalidArgumentError(
        'It must be layers such as 8,10,12 or a range 8-30/2, or auto, all, last.',
      );
    }
    return match.slice(1).map((n) => (n === undefined ? undefined : Number(n)));
  });
  return (count) => {
    const layers = new Set<number>();
    for (const range of ranges) {
      if (range === 'last') layers.add(count);
      else if (range === 'auto') for (let i = count; i >= count / 4; i -= 2) layers.add(i);
      else if (range === 'all') for (let i = 1; i <= count; i++) layers.add(i);
      else {
        const [from, to = from, step = 1] = range as [number, number?, number?];
        for (let i = from; i <= Math.min(to, count); i += Math.max(1, step)) layers.add(i);
        // Beyond the model: kept, so that it is refused by name.
        if (to > count) layers.add(to);
      }
    }
    return [...layers].sort((a, b) => a - b);
  };
}

function tapKinds(text: string): TapKind[] {
  const kinds = text.split(',').map((kind) => kind.trim()) as TapKind[];
  if (kinds.some((kind) => !TAP_KINDS.includes(kind)) || new Set(kinds).size !== kinds.length) {
    throw new InvalidArgumentError(`It must be some of ${TAP_KINDS.join(', ')}, each once.`);
  }
  return kinds;
}

/** How many threads compute: so many, or as many as there are cores. */
export type ThreadChoice = 'auto' | number;

/** Threads that `auto` takes at the most: small models have no more work to share at once. */
const MOST_AUTO_THREADS = 16;

/** Reads `auto` or a number of threads. @throws InvalidArgumentError for anything else */
export function threadChoice(text: string): ThreadChoice {
  if (text.trim() === 'auto') return 'auto';
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 1 || value > MOST_THREADS) {
    throw new InvalidArgumentError(`It must be auto, or a whole number from 1 to ${MOST_THREADS}.`);
  }
  return value;
}
NUMBER_OR_WORD_PARSERS.add(threadChoice);

/** Threads of a choice on this machine. */
export function threadsOf(choice: ThreadChoice): number {
  return choice === 'auto' ? Math.min(availableParallelism(), MOST_AUTO_THREADS) : choice;
}

/** --threads, of what computes on the device. */
export function threadsOption(): Option {
  return new Option('--threads <n>', 'threads that compute on the device; auto: one a core')
    .argParser(threadChoice)
    .default('auto');
}

/** What the commands that load a model share. */
export interface ModelFlags {
  readonly model: string;
  readonly precision: 'f32' | 'int8' | 'int4';
  readonly deviceBackend: 'wasm' | 'cpu';
  /** One where it is left out. */
  readonly threads?: ThreadChoice;
  readonly weights?: WeightPlace;
  /** Bytes of the whole process. */
  readonly memoryLimit?: number;
  /** False for --no-pack. */
  readonly pack?: boolean;
}

/** --model, --precision, --device-backend, --threads, --weights, --memory-limit. */
export function addModelFlags(command: Command, threads = threadsOption()): Command {
  return command
    .option(
      '--model <name|path>',
      'named model (fetched when missing), org/name as pulled, a .gguf file, or a model folder',
      DEFAULT_MODEL,
    )
    .addOption(
      new Option('--precision <format>', "how the device holds the backbone's matrices")
        .choices(['int8', 'int4', 'f32'])
        .default('int8'),
    )
    .addOption(
      new Option(
        '--device-backend <name>',
        'what computes on the device; cpu is the slow reference',
      )
        .choices(['wasm', 'cpu'])
        .default('wasm'),
    )
    .addOption(threads)
    .addOption(weightsOption())
    .addOption(memoryLimitOption())
    .addOption(packOption());
}

/** Reads `--weights`; what it once was is refused by the name that it has now. */
export function weightPlace(text: string): WeightPlace {
  if (text === 'resident' || text === 'stream') return text;
  throw new InvalidArgumentError(
    ['f32', 'int8', 'int4'].includes(text)
      ? `It is --precision ${text} now.`
      : 'Allowed choices are resident, stream.',
  );
}

/** --weights. */
export function weightsOption(): Option {
  return new Option(
    '--weights <place>',
    'resident: all in memory; stream: a layer at a time out of the packed file, in a fraction of it',
  )
    .argParser(weightPlace)
    .default('resident');
}

/** Units of a size; of bytes where there is none. */
const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/** Reads a size such as 200MB, 1.5GiB or 200000000. @throws InvalidArgumentError for anything else */
export function byteSize(text: string): number {
  const [, number, unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([KMG]i?B)?\s*$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * SIZE_UNITS[unit.toUpperCase()]);
  if (!(bytes > 0)) throw new InvalidArgumentError('It must be a size such as 200MB or 1.5GiB.');
  return bytes;
}
NUMBER_OR_WORD_PARSERS.add(byteSize);

/** --memory-limit. */
export function memoryLimitOption(): Option {
  return new Option(
    '--memory-limit <size>',
    'fail before the work begins where this process would take more: 200MB, 1.5GiB',
  ).argParser(byteSize);
}

/** --no-pack. */
export function packOption(): Option {
  return new Option(
    '--no-pack',
    'neither read nor write packed weights in the cache (mobillm pack --help)',
  );
}

/** The model that is used where none is named. */
export const DEFAULT_MODEL = 'smollm2-135m';

/** What decides how a sample becomes activations. */
export interface TapFlags {
  /** Undefined: `defaultTemplate` of the model and the data. */
  readonly template?: string;
  readonly maxSeqLength: number;
  readonly layers: LayerChoice;
  readonly taps: TapKind[];
  /** As typed; `Number` of it is in the codec. */
  readonly activationBits: `${ActivationBits}`;
  readonly prefixShots: number;
}

/** A decoder's default prompt: the text, then words that ask for its class. */
const DECODER_TEMPLATE = '{text}\nThe topic of this text is';

/**
 * The prompt where none was given: an encoder reads the bare text, or the pair as its two texts; a
 * decoder needs words behind the text, and knows none that fit every task with pairs.
 */
export function defaultTemplate(family: ModelFamily, pairs: boolean): string {
  if (family === 'decoder') return DECODER_TEMPLATE;
  return pairs ? '{text}{sep}{text_pair}' : '{text}';
}

/** --template, --max-seq-length, --layers, --taps, --activation-bits, --prefix-shots. */
export function addTapFlags(command: Command): Command {
  return command
    .option(
      '--template <text>',
      'prompt around a sample: {text}, {text_pair}, {labels}; \\n is a line break, \\t a tab, \\\\ a backslash; {sep} begins the second text of a model that reads pairs (default: the text and "The topic of this text is" for decoders; for encoders the text alone, or {text}{sep}{text_pair})',
      unescapeTemplate,
    )
    .option(
      '--max-seq-length <tokens>',
      'longest sample; longer ones lose their end',
      integer(1),
      256,
    )
    .addOption(
      new Option(
        '--layers <list>',
        'backbone layers whose output is sent: 8,10,12 or 8-30/2 or last or all or auto',
      )
        .argParser(layerChoice)
        .default(layerChoice('auto'), 'auto'),
    )
    .option(
      '--taps <list>',
      "what is sent of a layer: last or first token, mean over all tokens or over the template's words behind the text",
      tapKinds,
      ['last', 'mean'] as TapKind[],
    )
    .addOption(
      new Option('--activation-bits <bits>', 'bits of an activation on the wire')
        .choices(ACTIVATION_BITS.map(String))
        .default('4'),
    )
    .option(
      '--prefix-shots <n>',
      'training rows, with their labels or completions, in front of every prompt, run once; 0 for none',
      integer(0),
      0,
    );
}
