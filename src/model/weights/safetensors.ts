import type { ByteSource } from '../../platform/byte-source.ts';
import { FormatError, numelOf, type Shape } from '../../tensor/index.ts';

/** Largest header the format allows, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;

/** Element types of the format and the bytes of one element. */
export const safetensorsTypes = {
  ...({ F64: 8, F32: 4, F16: 2, BF16: 2 } as const),
  ...({ I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1 } as const),
} as const;

/** An element type, as the format spells it. */
export type SafetensorsType = keyof typeof safetensorsTypes;

/** The header's entry that is no tensor: strings by name. */
const METADATA = '__metadata__';

/** Where a tensor lies in a safetensors file, and what it is. */
export interface SafetensorsEntry {
  readonly type: SafetensorsType;
  readonly shape: Shape;
  /** First byte, from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** An opened safetensors file, its header checked, its tensors still in the source. */
export interface SafetensorsFile {
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  /** Raw little-endian bytes of a tensor. @throws FormatError when there is none of that name */
  readTensor(name: string): Promise<Uint8Array>;
}

/** A tensor to be written: f32 values and their shape. */
export interface NamedValues {
  readonly shape: Shape;
  readonly values: Float32Array;
}

/**
 * Serialises f32 tensors: u64-LE header length, JSON header (padded with blanks to 8 bytes), data
 * in the order given.
 * @throws FormatError when values do not fill their shape, or for a tensor named `__metadata__`
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, NamedValues>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  // Without a prototype, so that a tensor may be called __proto__.
  const header: Record<string, unknown> = Object.create(null);
  header[METADATA] = metadata;
  let offset = 0;
  for (const [name, { shape, values }] of tensors) {
    if (name === METADATA) throw new FormatError(`safetensors: no tensor can be called ${name}`);
    if (numelOf(shape) !== values.length) {
      throw new FormatError(`safetensors: ${name} has ${values.length} values for [${shape}]`);
    }
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + 4 * values.length] };
    offset += 4 * values.length;
  }
  let json = JSON.stringify(header);
  const encoder = new TextEncoder();
  json += ' '.repeat((8 - (encoder.encode(json).length % 8)) % 8);
  const head = encoder.encode(json);
  const out = new Uint8Array(8 + head.length + offset);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(head.length), true);
  out.set(head, 8);
  let at = 8 + head.length;
  for (const { values } of tensors.values()) {
    for (let i = 0; i < values.length; i++) view.setFloat32(at + 4 * i, values[i], true);
    at += 4 * values.length;
  }
  return out;
}

/**
 * Opens a safetensors file: reads the header, checks that tensors fill the data without overlap
 * or hole.
 * @throws FormatError naming the file and the tensor
 */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const fail = (what: string) => new FormatError(`${source.name}: ${what}`, 'E_SAFETENSORS');
  if (source.size < 8) throw fail(`${source.size} bytes are no safetensors file`);
  const length = new DataView((await source.read(0, 8)).buffer).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES || Number(length) > source.size - 8) {
    throw fail(`header of ${length} bytes does not fit (truncated?)`);
  }
  let header: unknown;
  try {
    header = JSON.parse(
      new TextDecoder('utf-8', { fatal: true }).decode(await source.read(8, Number(length))),
    );
  } catch (error) {
    // The message quotes the header, line breaks included.
    throw fail(`header is no JSON: ${(error as Error).message.replace(/\s+/g, ' ')}`);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw fail('header is no JSON object');
  }
  const dataStart = 8 + Number(length);
  const tensors = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === METADATA) metadata = parseMetadata(value, fail);
    else tensors.set(name, parseEntry(name, value, dataStart, fail));
  }
  checkLayout(tensors, dataStart, source.size, fail);
  return {
    name: source.name,
    metadata,
    tensors,
    async readTensor(name) {
      const entry = tensors.get(name);
      if (!entry) throw fail(`tensor ${printable(name)} is missing`);
      return source.read(entry.offset, entry.byteLength);
    },
  };
}

/** A name for a message of one line. */
function printable(name: string): string {
  return /^[\w.-]+$/.test(name) ? name : JSON.stringify(name);
}

function parseMetadata(
  value: unknown,
  fail: (what: string) => FormatError,
): Record<string, string> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject || !Object.values(value).every((text) => typeof text === 'string')) {
    throw fail(`${METADATA} is no object of strings`);
  }
  return value as Record<string, string>;
}

function parseEntry(
  key: string,
  value: unknown,
  dataStart: number,
  fail: (what: string) => FormatError,
): SafetensorsEntry {
  const name = printable(key);
  const { dtype, shape, data_offsets: range } = (value ?? {}) as Record<string, unknown>;
  const isKnown = typeof dtype === 'string' && Object.hasOwn(safetensorsTypes, dtype);
  if (!isKnown) throw fail(`tensor ${name} has dtype ${JSON.stringify(dtype)}, not supported`);
  const natural = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(natural)) throw fail(`tensor ${name} has a bad shape`);
  if (!Array.isArray(range) || range.length !== 2 || !range.every(natural)) {
    throw fail(`tensor ${name} has bad data_offsets`);
  }
  const type = dtype as SafetensorsType;
  const byteLength = range[1] - range[0];
  if (byteLength !== numelOf(shape) * safetensorsTypes[type]) {
    throw fail(`tensor ${name} holds ${byteLength} bytes, its shape wants another number`);
  }
  return { type, shape, offset: dataStart + range[0], byteLength };
}

function checkLayout(
  tensors: ReadonlyMap<string, SafetensorsEntry>,
  dataStart: number,
  size: number,
  fail: (what: string) => FormatError,
): void {
  let end = dataStart;
  // Of two that begin at one byte the first has no bytes.
  const order = [...tensors].sort(
    ([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength,
  );
  for (const [name, entry] of order) {
    if (entry.offset !== end) {
      throw fail(`tensor ${printable(name)} overlaps its neighbour or leaves a hole`);
    }
    end += entry.byteLength;
  }
  if (end !== size) throw fail(`tensors end at byte ${end}, the file at ${size}`);
}
