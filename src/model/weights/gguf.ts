import type { ByteSource } from '../../platform/byte-source.ts';
import { FormatError } from '../../tensor/errors.ts';
import { type StringTable, StringTableBuilder } from '../string-table.ts';
import { type GgmlType, ggmlTypesById } from './ggml-types.ts';
import { HeaderCursor } from './header-cursor.ts';

/** A metadata value; numeric arrays are typed arrays, those of strings tables, 64-bit numbers are bigint only above 2^53. */
export type GgufValue =
  | number
  | bigint
  | boolean
  | string
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | StringTable
  | GgufValue[];

/** Where a tensor lies in the file and what it holds. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Row-major, outermost first: a linear layer's weight is [N, K]. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** An open GGUF file: header in memory, tensor data still in its source. */
export interface GgufFile {
  readonly name: string;
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /**
   * A tensor's raw bytes, blocks as they lie in the file.
   * @throws FormatError `E_GGUF_TENSOR` when the file has no tensor of that name.
   */
  readTensor(name: string): Promise<Uint8Array>;
}

/** Keys of metadata are at most this many bytes (GGUF specification, `gguf_metadata_kv_t`). */
const MAX_KEY_BYTES = 65_535;
/** ggml's GGML_MAX_DIMS. */
const MAX_DIMS = 4;
/** Arrays of arrays of arrays have no use; a bound keeps a hostile file off the call stack. */
const MAX_DEPTH = 4;
const DEFAULT_ALIGNMENT = 32;
/** Smallest a metadata entry can be: key length, value type, one byte of value. */
const MIN_METADATA_BYTES = 8 + 4 + 1;
/** Smallest a tensor entry can be: name length, rank, type, offset. */
const MIN_TENSOR_BYTES = 8 + 4 + 4 + 8;

const VALUE_TYPES = [
  { name: 'uint8', bytes: 1, array: Uint8Array },
  { name: 'int8', bytes: 1, array: Int8Array },
  { name: 'uint16', bytes: 2, array: Uint16Array },
  { name: 'int16', bytes: 2, array: Int16Array },
  { name: 'uint32', bytes: 4, array: Uint32Array },
  { name: 'int32', bytes: 4, array: Int32Array },
  { name: 'float32', bytes: 4, array: Float32Array },
  { name: 'bool', bytes: 1, array: null },
  { name: 'string', bytes: 8, array: null },
  { name: 'array', bytes: 12, array: null },
  { name: 'uint64', bytes: 8, array: null },
  { name: 'int64', bytes: 8, array: null },
  { name: 'float64', bytes: 8, array: Float64Array },
] as const;
type ValueTypeName = (typeof VALUE_TYPES)[number]['name'];

async function valueType(cursor: HeaderCursor): Promise<(typeof VALUE_TYPES)[number]> {
  const at = cursor.position;
  const id = await cursor.u32('a value type');
  const type = VALUE_TYPES[id];
  if (type === undefined) {
    cursor.fail('E_GGUF_METADATA', `value type ${id} is unknown (0 to 12 are)`, at);
  }
  return type;
}

async function scalar(cursor: HeaderCursor, type: ValueTypeName): Promise<GgufValue> {
  switch (type) {
    case 'string':
      return cursor.string();
    case 'uint64':
      return cursor.i64(false);
    case 'int64':
      return cursor.i64(true);
    case 'bool': {
      const at = cursor.position;
      const byte = await cursor.number('uint8');
      if (byte > 1) cursor.fail('E_GGUF_METADATA', `bool value is ${byte}, not 0 or 1`, at);
      return byte === 1;
    }
    case 'array':
      return array(cursor, 1);
    default:
      return cursor.number(type);
  }
}

async function array(cursor: HeaderCursor, depth: number): Promise<GgufValue> {
  if (depth > MAX_DEPTH) {
    cursor.fail('E_GGUF_METADATA', `arrays are nested more than ${MAX_DEPTH} deep`);
  }
  const type = await valueType(cursor);
  const count = await cursor.count(`${type.name} values`, type.bytes);
  if (type.array !== null) {
    const bytes = await cursor.bytes(count * type.bytes);
    return new type.array(bytes.buffer as ArrayBuffer);
  }
  if (type.name === 'string') return strings(cursor, count);
  const values: GgufValue[] = [];
  for (let i = 0; i < count; i++) {
    if (type.name === 'array') values.push(await array(cursor, depth + 1));
    else values.push(await scalar(cursor, type.name));
  }
  return values;
}

async function strings(cursor: HeaderCursor, count: number): Promise<StringTable> {
  const builder = new StringTableBuilder(count);
  // A vocabulary is 10^5 strings: wait only where the window of the file must move.
  for (let i = 0; i < count; i++) builder.add(cursor.utf8Now() ?? (await cursor.utf8()));
  return builder.build();
}

async function readMetadata(cursor: HeaderCursor, count: number): Promise<Map<string, GgufValue>> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const at = cursor.position;
    const key = await cursor.string(MAX_KEY_BYTES);
    if (metadata.has(key)) cursor.fail('E_GGUF_METADATA', `key ${key} stands there twice`, at);
    const type = await valueType(cursor);
    metadata.set(key, await scalar(cursor, type.name));
  }
  return metadata;
}

interface TensorEntry {
  name: string;
  type: GgmlType;
  shape: number[];
  relativeOffset: number;
  byteLength: number;
  /** Where the entry stands in the header, for messages. */
  at: number;
}

async function readTensorEntry(cursor: HeaderCursor): Promise<TensorEntry> {
  const at = cursor.position;
  const name = await cursor.string(MAX_KEY_BYTES);
  const rank = await cursor.u32('a rank');
  if (rank > MAX_DIMS) {
    cursor.fail('E_GGUF_TENSOR', `tensor ${name} has rank ${rank}, at most ${MAX_DIMS}`, at);
  }
  const dims: number[] = [];
  let numel = 1;
  for (let i = 0; i < rank; i++) {
    const dim = await cursor.i64(false);
    dims.push(Number(dim));
    numel *= Number(dim);
    if (dim === 0 || !Number.isSafeInteger(numel)) {
      const shape = `[${dims.join(', ')}${i + 1 < rank ? ', ...' : ''}]`;
      cursor.fail('E_GGUF_TENSOR', `tensor ${name} has dims ${shape}, empty or too large`, at);
    }
  }
  const id = await cursor.u32('a tensor type');
  const type = ggmlTypesById.get(id);
  if (type === undefined) {
    cursor.fail('E_GGUF_TYPE', `tensor ${name} has type ${id}, which is not known`, at);
  }
  if ((dims[0] ?? 1) % type.blockSize !== 0) {
    cursor.fail(
      'E_GGUF_TENSOR',
      `tensor ${name} has rows of ${dims[0] ?? 1}, no multiple of ${type.name}'s block of ${type.blockSize}`,
      at,
    );
  }
  // numel / blockSize first: the product then stays below 4.6 x numel and the check below holds.
  const byteLength = (numel / type.blockSize) * type.blockBytes;
  const relativeOffset = Number(await cursor.i64(false));
  return { name, type: type.name, shape: dims.reverse(), relativeOffset, byteLength, at };
}

function alignmentOf(cursor: HeaderCursor, metadata: Map<string, GgufValue>): number {
  const value = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT;
  const usable =
    typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 2 ** 30;
  if (!usable || (value & (value - 1)) !== 0) {
    cursor.fail('E_GGUF_METADATA', `general.alignment is ${String(value)}, not a power of two`);
  }
  return value;
}

function placeTensors(
  cursor: HeaderCursor,
  entries: TensorEntry[],
  alignment: number,
): Map<string, GgufTensor> {
  const start = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const { name, type, shape, relativeOffset, byteLength, at } of entries) {
    const offset = start + relativeOffset;
    if (relativeOffset % alignment !== 0) {
      const problem = `offset ${relativeOffset} is no multiple of the alignment ${alignment}`;
      cursor.fail('E_GGUF_TENSOR', `tensor ${name}: ${problem}`, at);
    }
    if (!(offset + byteLength <= cursor.size)) {
      cursor.fail(
        'E_GGUF_TRUNCATED',
        `tensor ${name} needs bytes ${offset} to ${offset + byteLength}, the file has ${cursor.size}; it is cut short or damaged`,
        at,
      );
    }
    if (tensors.has(name)) cursor.fail('E_GGUF_TENSOR', `tensor ${name} stands there twice`, at);
    tensors.set(name, { name, type, shape, offset, byteLength });
  }
  const sorted = [...tensors.values()].sort((a, b) => a.offset - b.offset);
  for (let i = 1; i < sorted.length; i++) {
    const [before, after] = [sorted[i - 1] as GgufTensor, sorted[i] as GgufTensor];
    if (before.offset + before.byteLength > after.offset) {
      cursor.fail(
        'E_GGUF_TENSOR',
        `tensors ${before.name} and ${after.name} overlap at byte ${after.offset}`,
        after.offset,
      );
    }
  }
  return tensors;
}

/**
 * Reads the header of a GGUF file, version 2 or 3, little-endian; tensor data stays in the source.
 * Every count, length and offset is held against the file's size before anything is allocated for
 * it. Format: the GGUF specification in ggml's documentation.
 * @throws FormatError naming the file, what is wrong and the byte where: `E_GGUF_MAGIC` (no GGUF
 * file), `E_GGUF_VERSION`, `E_GGUF_TRUNCATED`, `E_GGUF_METADATA`, `E_GGUF_TENSOR` (names, shapes,
 * offsets, overlaps), `E_GGUF_TYPE` (unknown element type), `E_GGUF_LIMIT` (a header beyond reason).
 */
export async function openGguf(source: ByteSource): Promise<GgufFile> {
  const cursor = new HeaderCursor(source);
  const magic = source.size >= 4 ? await cursor.u32('the magic number') : 0;
  if (magic !== 0x46554747 /* "GGUF" */) {
    cursor.fail('E_GGUF_MAGIC', 'is not a GGUF file (it does not start with "GGUF")', 0);
  }
  const version = await cursor.u32('the version');
  if (version !== 2 && version !== 3) {
    const swapped = version === 0x02000000 || version === 0x03000000;
    const what = swapped ? 'big-endian files are not supported' : `version ${version} is not`;
    cursor.fail('E_GGUF_VERSION', swapped ? what : `${what} supported (2 and 3 are)`, 4);
  }
  const tensorCount = await cursor.count('tensors', MIN_TENSOR_BYTES);
  const metadataCount = await cursor.count('metadata entries', MIN_METADATA_BYTES);
  const metadata = await readMetadata(cursor, metadataCount);
  const entries: TensorEntry[] = [];
  for (let i = 0; i < tensorCount; i++) entries.push(await readTensorEntry(cursor));
  const tensors = placeTensors(cursor, entries, alignmentOf(cursor, metadata));
  return {
    name: source.name,
    version,
    metadata,
    tensors,
    async readTensor(name) {
      const tensor = tensors.get(name);
      if (tensor === undefined) {
        throw new FormatError(`gguf: ${source.name}: has no tensor ${name}`, 'E_GGUF_TENSOR');
      }
      return source.read(tensor.offset, tensor.byteLength);
    },
  };
}

/**
 * A number out of a file's metadata.
 * @throws FormatError `E_GGUF_METADATA` when the key is missing (without `fallback`) or no number.
 */
export function ggufNumber(file: GgufFile, key: string, fallback?: number): number {
  const value = file.metadata.get(key) ?? fallback;
  if (typeof value === 'number') return value;
  const problem = value === undefined ? 'is missing' : `is no number but ${typeof value}`;
  throw new FormatError(`gguf: ${file.name}: metadata ${key} ${problem}`, 'E_GGUF_METADATA');
}

/**
 * A string out of a file's metadata.
 * @throws FormatError `E_GGUF_METADATA` when the key is missing (without `fallback`) or no string.
 */
export function ggufString(file: GgufFile, key: string, fallback?: string): string {
  const value = file.metadata.get(key) ?? fallback;
  if (typeof value === 'string') return value;
  const problem = value === undefined ? 'is missing' : `is no string but ${typeof value}`;
  throw new FormatError(`gguf: ${file.name}: metadata ${key} ${problem}`, 'E_GGUF_METADATA');
}
