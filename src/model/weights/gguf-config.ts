import { FormatError } from '../../tensor/errors.ts';
import type { GgufFile } from './gguf.ts';

/** The numbers of one architecture in a GGUF file's metadata: keys `<architecture>.<key>`. */
export class GgufConfig {
  private readonly file: GgufFile;
  private readonly architecture: string;

  /**
   * @throws FormatError (E_MODEL_ARCHITECTURE) when the file holds another architecture, or scales
   * its rotary positions in a way that is not built
   */
  constructor(file: GgufFile, architecture: string) {
    this.file = file;
    this.architecture = architecture;
    const { metadata } = file;
    const found = metadata.get('general.architecture');
    if (found !== architecture) {
      throw this.unsupported(
        `architecture ${typeof found === 'string' ? JSON.stringify(found) : 'none'}`,
      );
    }
    const scaling = metadata.get(`${architecture}.rope.scaling.type`);
    if (scaling !== undefined && scaling !== 'none') {
      throw this.unsupported(`rope scaling ${JSON.stringify(String(scaling))}`);
    }
    // The key of older files.
    const factor = metadata.get(`${architecture}.rope.scale_linear`);
    if (factor !== undefined && factor !== 1) throw this.unsupported('linear rope scaling');
  }

  /** An error that names the file. */
  fail(what: string): FormatError {
    return new FormatError(`${this.file.name}: ${what}`, 'E_MODEL');
  }

  /** What would load and run, and give wrong numbers. */
  unsupported(what: string): FormatError {
    return new FormatError(
      `${this.file.name}: ${what} is not supported; this build runs plain ${this.architecture}`,
      'E_MODEL_ARCHITECTURE',
    );
  }

  /** A finite number above 0. @throws FormatError (E_MODEL) */
  number(key: string, fallback?: number): number {
    const name = `${this.architecture}.${key}`;
    const value = this.file.metadata.get(name) ?? fallback;
    if (typeof value !== 'number' || !(value > 0 && value < Number.POSITIVE_INFINITY)) {
      throw this.fail(`metadata ${name} is missing or no positive number`);
    }
    return value;
  }

  /** A whole number above 0. @throws FormatError (E_MODEL) */
  count(key: string, fallback?: number): number {
    const value = this.number(key, fallback);
    if (!Number.isSafeInteger(value)) {
      throw this.fail(`metadata ${this.architecture}.${key} is no whole number`);
    }
    return value;
  }

  /** A whole number above 0, or undefined where the key is left out. @throws FormatError (E_MODEL) */
  optionalCount(key: string): number | undefined {
    return this.file.metadata.has(`${this.architecture}.${key}`) ? this.count(key) : undefined;
  }
}
