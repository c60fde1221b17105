import { FormatError } from '../../tensor/errors.ts';

/** Keys that every config.json may have and that describe no forward pass. */
const BOOKKEEPING = [
  ...['_name_or_path', 'architectures', 'transformers_version', 'torch_dtype', 'dtype'],
  ...['finetuning_task', 'problem_type', 'num_labels', 'id2label', 'label2id'],
];

/**
 * A Hugging Face config.json, read key by key. What nobody asked for by the end is refused by name:
 * an option that is ignored gives wrong numbers.
 */
export class HfConfig {
  private readonly values: ReadonlyMap<string, unknown>;
  private readonly name: string;
  private readonly read = new Set<string>();

  /** @throws FormatError (E_MODEL) unless `json` is an object */
  constructor(json: unknown, name: string) {
    this.name = name;
    if (typeof json !== 'object' || json === null || Array.isArray(json)) {
      throw this.fail('it is no JSON object');
    }
    this.values = new Map(Object.entries(json));
  }

  /** An error that names the file. */
  fail(what: string, code: 'E_MODEL' | 'E_MODEL_ARCHITECTURE' = 'E_MODEL'): FormatError {
    return new FormatError(`${this.name}: ${what}`, code);
  }

  /** A finite number above 0. @throws FormatError (E_MODEL) */
  number(key: string, fallback?: number): number {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'number' || !(value > 0 && value < Number.POSITIVE_INFINITY)) {
      throw this.fail(`${key} is missing or no positive number`);
    }
    return value;
  }

  /** A whole number above 0. @throws FormatError (E_MODEL) */
  count(key: string): number {
    const value = this.number(key);
    if (!Number.isSafeInteger(value)) throw this.fail(`${key} is no whole number`);
    return value;
  }

  /** @throws FormatError (E_MODEL_ARCHITECTURE) unless the value, or what stands for none, is `built` */
  expect(key: string, built: string | boolean, fallback?: string | boolean): void {
    const value = this.get(key) ?? fallback ?? null;
    if (value === built) return;
    throw this.fail(
      `${key} ${JSON.stringify(value)} is not supported; built is ${JSON.stringify(built)}`,
      'E_MODEL_ARCHITECTURE',
    );
  }

  /** @throws FormatError (E_MODEL_ARCHITECTURE) for keys that were not read and are not `irrelevant` */
  finish(irrelevant: readonly string[]): void {
    const known = new Set([...this.read, ...BOOKKEEPING, ...irrelevant]);
    const unknown = [...this.values.keys()].filter((key) => !known.has(key));
    if (unknown.length > 0) {
      throw this.fail(
        `${unknown.map((key) => JSON.stringify(key)).join(', ')} is not known; what it asks for would be ignored`,
        'E_MODEL_ARCHITECTURE',
      );
    }
  }

  private get(key: string): unknown {
    this.read.add(key);
    return this.values.get(key);
  }
}

/**
 * The JSON value of a small text file.
 * @throws FormatError with the code given when it is no JSON text
 */
export function parseJson(bytes: Uint8Array, name: string, code: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    // The message quotes the text, line breaks included.
    const reason = (error as Error).message.replace(/\s+/g, ' ');
    throw new FormatError(`${name}: it is no JSON: ${reason}`, code);
  }
}
