import { FormatError } from '../../tensor/errors.ts';

/** Keys that every config.json may have and that describe no forward pass. */
const BOOKKEEPING = [
  ...['_name_or_path', 'architectures', 'transformers_version', 'torch_dtype', 'dtype'],
  ...['finetuning_task', 'problem_type', 'num_labels', '_num_labels', 'id2label'],
  ...['label2id'],
  ...['_attn_implementation_autoset', 'auto_map', 'transformers.js_config', 'torchscript'],
  ...['initializer_range', 'gradient_checkpointing', 'use_cache', 'output_attentions'],
  ...['output_hidden_states', 'return_dict', 'unsloth_fixed', 'task_specific_params'],
  // Read elsewhere, or of no use in a forward pass without padding.
  ...['bos_token_id', 'eos_token_id', 'pad_token_id', 'sep_token_id'],
];

/** A value that options have. */
type Plain = string | number | boolean;

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

  /** A whole number above 0, or undefined where the key is left out. @throws FormatError (E_MODEL) */
  optionalCount(key: string): number | undefined {
    return (this.get(key) ?? null) === null ? undefined : this.count(key);
  }

  /** @throws FormatError (E_MODEL) unless true or false */
  flag(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback;
    if (typeof value !== 'boolean') throw this.fail(`${key} is neither true nor false`);
    return value;
  }

  /** What is nested under the key, or undefined where it is left out. @throws FormatError (E_MODEL) */
  nested(key: string): HfConfig | undefined {
    const value = this.get(key) ?? undefined;
    return value === undefined ? undefined : new HfConfig(value, `${this.name}: ${key}`);
  }

  /** @throws FormatError (E_MODEL_ARCHITECTURE) unless the value, or what stands for none, is `built` */
  expect(key: string, built: Plain, fallback?: Plain): void {
    this.oneOf(key, [built], fallback);
  }

  /** @throws FormatError (E_MODEL_ARCHITECTURE) unless every item of the list, if there is one, is `built` */
  expectAll(key: string, built: Plain): void {
    const value = this.get(key) ?? [];
    if (!Array.isArray(value)) throw this.fail(`${key} is no list`);
    const other = value.find((item) => item !== built);
    if (other !== undefined) throw this.unsupported(key, other, [built]);
  }

  /** The value, or what stands for none. @throws FormatError (E_MODEL_ARCHITECTURE) unless it is one of `built` */
  oneOf<T extends Plain>(key: string, built: readonly T[], fallback?: T): T {
    const value = this.get(key) ?? fallback ?? null;
    const found = built.find((one) => one === value);
    if (found === undefined) throw this.unsupported(key, value, built);
    return found;
  }

  /** Keys that say nothing here, whatever their value. */
  ignore(...keys: readonly string[]): void {
    for (const key of keys) this.read.add(key);
  }

  /** @throws FormatError (E_MODEL_ARCHITECTURE) for keys that were not read and are not `irrelevant` */
  finish(irrelevant: readonly string[] = []): void {
    const known = new Set([...this.read, ...BOOKKEEPING, ...irrelevant]);
    const unknown = [...this.values.keys()].filter((key) => !known.has(key));
    if (unknown.length > 0) {
      throw this.fail(
        `${unknown.map((key) => JSON.stringify(key)).join(', ')} is not known; what it asks for would be ignored`,
        'E_MODEL_ARCHITECTURE',
      );
    }
  }

  private unsupported(key: string, value: unknown, built: readonly Plain[]): FormatError {
    const known = built.map((one) => JSON.stringify(one)).join(', ');
    return this.fail(
      `${key} ${JSON.stringify(value)} is not supported; built is ${known}`,
      'E_MODEL_ARCHITECTURE',
    );
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
