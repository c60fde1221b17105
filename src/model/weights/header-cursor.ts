import type { ByteSource } from '../../platform/byte-source.ts';
import { FormatError } from '../../tensor/errors.ts';

/** Bytes fetched at once while the header is read; larger values are read by themselves. */
const WINDOW = 2 ** 18;
/**
 * No honest header is larger (a 256,000-token vocabulary with merges is about 12 MB), and a hostile
 * one costs several times its bytes as JavaScript values.
 */
const MAX_HEADER_BYTES = 2 ** 28;

const NUMBERS = {
  uint8: [1, (view: DataView, at: number) => view.getUint8(at)],
  int8: [1, (view: DataView, at: number) => view.getInt8(at)],
  uint16: [2, (view: DataView, at: number) => view.getUint16(at, true)],
  int16: [2, (view: DataView, at: number) => view.getInt16(at, true)],
  uint32: [4, (view: DataView, at: number) => view.getUint32(at, true)],
  int32: [4, (view: DataView, at: number) => view.getInt32(at, true)],
  float32: [4, (view: DataView, at: number) => view.getFloat32(at, true)],
  float64: [8, (view: DataView, at: number) => view.getFloat64(at, true)],
} as const;

// Byte order marks are part of a token, not of an encoding.
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Reads little-endian values one after another through a window over a byte source, and fails with
 * the file's name and the byte where. Nothing is allocated for a length before the file is known
 * to have that many bytes.
 */
export class HeaderCursor {
  /** Bytes of the file. */
  readonly size: number;
  private readonly source: ByteSource;
  private window = new Uint8Array(0);
  private view = new DataView(this.window.buffer);
  /** Position of the window's first byte in the file. */
  private start = 0;
  /** Next byte, counted in the window. */
  private at = 0;

  constructor(source: ByteSource) {
    this.source = source;
    this.size = source.size;
  }

  /** Next byte, counted in the file. */
  get position(): number {
    return this.start + this.at;
  }

  /** @throws FormatError always, with the file's name before and the byte after the message. */
  fail(code: string, message: string, at = this.position): never {
    throw new FormatError(`gguf: ${this.source.name}: ${message} (at byte ${at})`, code);
  }

  /** Makes `length` bytes available in the window. */
  private async need(length: number, what: string): Promise<void> {
    if (this.at + length <= this.window.byteLength) return;
    const at = this.position;
    if (length > this.size - at) {
      const problem = `${what} needs ${length} bytes, ${this.size - at} are left`;
      this.fail('E_GGUF_TRUNCATED', `${problem}; the file is cut short or damaged`);
    }
    if (at + length > MAX_HEADER_BYTES) {
      this.fail('E_GGUF_LIMIT', `the header is larger than ${MAX_HEADER_BYTES} bytes`);
    }
    const fetch = Math.min(Math.max(length, WINDOW), this.size - at);
    this.window = new Uint8Array(await this.source.read(at, fetch));
    this.view = new DataView(this.window.buffer);
    this.start = at;
    this.at = 0;
  }

  /** A number of a fixed type. */
  async number(type: keyof typeof NUMBERS, what: string = type): Promise<number> {
    const [length, get] = NUMBERS[type];
    await this.need(length, what);
    const value = get(this.view, this.at);
    this.at += length;
    return value;
  }

  /** An unsigned 32-bit number. */
  u32(what: string): Promise<number> {
    return this.number('uint32', what);
  }

  /** A 64-bit number: a plain one up to 2^53 - 1 in magnitude, a bigint beyond. */
  async i64(signed: boolean): Promise<number | bigint> {
    await this.need(8, 'a 64-bit number');
    const value = signed
      ? this.view.getBigInt64(this.at, true)
      : this.view.getBigUint64(this.at, true);
    this.at += 8;
    const plain = Number(value);
    return Number.isSafeInteger(plain) ? plain : value;
  }

  /** A 64-bit count of things of at least `minBytes` each, checked against the bytes left. */
  async count(what: string, minBytes: number): Promise<number> {
    const at = this.position;
    const count = await this.i64(false);
    const left = this.size - this.position;
    if (count > Math.floor(left / minBytes)) {
      const problem = `${count} ${what} are declared, but only ${left} bytes are left`;
      this.fail('E_GGUF_TRUNCATED', `${problem}; the file is cut short or damaged`, at);
    }
    return Number(count);
  }

  /** The next `length` bytes, in an array of their own. */
  async bytes(length: number): Promise<Uint8Array> {
    await this.need(length, 'an array');
    const bytes = this.window.slice(this.at, this.at + length);
    this.at += length;
    return bytes;
  }

  /** The bytes of a length-prefixed string if all of it is in the window, else undefined: a view. */
  utf8Now(): Uint8Array | undefined {
    if (this.at + 8 > this.window.byteLength) return undefined;
    if (this.view.getUint32(this.at + 4, true) !== 0) return undefined;
    const from = this.at + 8;
    const end = from + this.view.getUint32(this.at, true);
    if (end > this.window.byteLength) return undefined;
    this.at = end;
    return this.window.subarray(from, end);
  }

  /** The bytes of a length-prefixed string of at most `maxBytes`: a view until the next is read. */
  async utf8(maxBytes = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
    const at = this.position;
    const length = await this.count('bytes of text', 1);
    if (length > maxBytes) {
      this.fail('E_GGUF_METADATA', `a name of ${length} bytes, at most ${maxBytes}`, at);
    }
    await this.need(length, 'text');
    this.at += length;
    return this.window.subarray(this.at - length, this.at);
  }

  /** A length-prefixed UTF-8 string of at most `maxBytes`. */
  async string(maxBytes?: number): Promise<string> {
    return utf8.decode(await this.utf8(maxBytes));
  }
}
