import type { ByteSource, Hasher } from '../platform/byte-source.ts';
import {
  BLOCK,
  PACK_LAYOUT,
  PANEL,
  PackedLinear,
  packedByteLength,
  ZERO_POINT,
} from '../quant/index.ts';
import {
  bytesPerElement,
  FormatError,
  type Tensor,
  UsageError,
  viewTypedArray,
} from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import type { LinearWeight } from './nn/linear.ts';
import {
  arraysOf,
  bytesOf,
  emptyWeight,
  LayerStream,
  type StreamedEntry,
  StreamedMatrix,
  type WeightReader,
} from './nn/weight-stream.ts';
import { INT4_GROUP, INT8_GROUP } from './pack-matrix.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** First bytes of a file of packed weights. */
const MAGIC = 'mobipack';

/** Of the fixed part in front and of the index; what is packed has `PACK_LAYOUT` beside it. */
const FILE_VERSION = 1;

/** The fixed part in front: magic, version, zero, offset and length of the index, its SHA-256. */
const HEAD_BYTES = 64;

/** Every array begins at a multiple of this: a cache line, and what disks and views like. */
const ALIGNMENT = 64;

/** An index of a model of 1,000 layers has less. */
const MAX_INDEX_BYTES = 2 ** 26;

/** Read at once while a file is verified. */
const VERIFY_BYTES = 2 ** 18;

/** SHA-256 of bytes as 64 lower-case hex digits. */
export type Digest = (bytes: Uint8Array) => string | Promise<string>;

/** Where a file of packed weights is written: positional, like the reads. */
export interface ByteSink {
  /** Writes all bytes at an offset; they may lie in memory that changes afterwards. */
  write(offset: number, bytes: Uint8Array): Promise<void>;
}

/** Which weights a file holds: those of a model in a precision. */
export interface PackedContent {
  /** SHA-256 (hex) of the model's weights. */
  readonly fingerprint: string;
  readonly precision: WeightPrecision;
}

interface PackedPart {
  readonly offset: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** How a weight lies there: a matrix in one of the packed formats, or numbers in f32. */
interface PackedEntry {
  readonly name: string;
  readonly format: 'qc8w' | 'qb4w' | 'f32';
  readonly shape: readonly number[];
  readonly parts: readonly PackedPart[];
}

/** All that arrays depend on beside the weights; a file that says otherwise is never used. */
const LAYOUT = {
  version: PACK_LAYOUT,
  panel: PANEL,
  block: BLOCK,
  zeroPoint: ZERO_POINT,
  int8Group: INT8_GROUP,
  int4Group: INT4_GROUP,
} as const;

/** A file's name, which carries all that makes it another file. Kernel variants share one layout. */
export function packedFileName({ fingerprint, precision }: PackedContent): string {
  return `${fingerprint}-${precision}-layout${PACK_LAYOUT}.mobipack`;
}

const align = (offset: number) => Math.ceil(offset / ALIGNMENT) * ALIGNMENT;

type PackedIndex = { readonly layout: unknown; readonly entries: readonly PackedEntry[] } & Record<
  keyof PackedContent,
  unknown
>;

/** The index, or undefined where it is of another form than `finish` writes. */
function parseIndex(bytes: Uint8Array): PackedIndex | undefined {
  const isLength = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  const isPart = (part: PackedPart | null) =>
    typeof part?.sha256 === 'string' && isLength(part.offset) && isLength(part.bytes);
  const isEntry = (entry: PackedEntry | null) =>
    typeof entry?.name === 'string' &&
    ['qc8w', 'qb4w', 'f32'].includes(entry.format) &&
    Array.isArray(entry.shape) &&
    entry.shape.every(isLength) &&
    Array.isArray(entry.parts) &&
    entry.parts.every(isPart);
  try {
    const index = JSON.parse(new TextDecoder().decode(bytes)) as PackedIndex;
    return index.entries.every(isEntry) ? index : undefined;
  } catch {
    return undefined;
  }
}

/** Writes weights one by one as they lie in a backend's memory. */
export class PackedWriter {
  private readonly sink: ByteSink;
  private readonly content: PackedContent;
  private readonly digest: Digest;
  private readonly entries: PackedEntry[] = [];
  private end = HEAD_BYTES;

  constructor(sink: ByteSink, content: PackedContent, digest: Digest) {
    this.sink = sink;
    this.content = content;
    this.digest = digest;
  }

  /** Appends a weight. Whatever the sink throws passes. */
  async add(name: string, weight: LinearWeight): Promise<void> {
    const matrix = weight instanceof PackedLinear ? weight : undefined;
    const parts: PackedPart[] = [];
    for (const tensor of arraysOf(weight)) {
      const { bytes } = bytesOf(tensor);
      const offset = align(this.end);
      await this.sink.write(this.end, new Uint8Array(offset - this.end));
      await this.sink.write(offset, bytes);
      parts.push({ offset, bytes: bytes.length, sha256: await this.digest(bytes) });
      this.end = offset + bytes.length;
    }
    const shape = matrix ? [matrix.outFeatures, matrix.inFeatures] : [...(weight as Tensor).shape];
    this.entries.push({ name, format: matrix?.format ?? 'f32', shape, parts });
  }

  /** Appends the index and, last of all, writes the part in front. @returns bytes of the file */
  async finish(): Promise<number> {
    const { content, entries, end } = this;
    const index = new TextEncoder().encode(JSON.stringify({ layout: LAYOUT, ...content, entries }));
    await this.sink.write(end, index);
    const head = new Uint8Array(HEAD_BYTES);
    const view = new DataView(head.buffer);
    head.set(new TextEncoder().encode(MAGIC));
    view.setUint32(8, FILE_VERSION, true);
    view.setBigUint64(16, BigInt(end), true);
    view.setBigUint64(24, BigInt(index.length), true);
    head.set(fromHex(await this.digest(index)), 32);
    await this.sink.write(0, head);
    return end + index.length;
  }
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from({ length: hex.length / 2 }, (_, i) =>
    Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16),
  );
}

/** An open file of packed weights whose index was held against its SHA-256. */
export class PackedFile {
  private readonly source: ByteSource;
  private readonly digest: Digest;
  private readonly entries: ReadonlyMap<string, PackedEntry>;

  private constructor(
    source: ByteSource,
    digest: Digest,
    entries: ReadonlyMap<string, PackedEntry>,
  ) {
    this.source = source;
    this.digest = digest;
    this.entries = entries;
  }

  /**
   * Reads the index.
   * @throws FormatError (E_PACKED) for a file that is damaged, cut short, of another version or
   *   layout, or of other weights than `content`
   */
  static async open(
    source: ByteSource,
    content: PackedContent,
    digest: Digest,
  ): Promise<PackedFile> {
    const fail = (what: string) => packedError(source, what);
    if (source.size < HEAD_BYTES) throw fail('it is cut short');
    const head = await source.read(0, HEAD_BYTES);
    const view = new DataView(head.buffer);
    if (new TextDecoder('latin1').decode(head.subarray(0, 8)) !== MAGIC) {
      throw fail('it is no file of packed weights, or its writing was broken off');
    }
    const version = view.getUint32(8, true);
    if (version !== FILE_VERSION || view.getUint32(12, true) !== 0) {
      throw fail(`it has version ${version}, this release reads ${FILE_VERSION}`);
    }
    const offset = Number(view.getBigUint64(16, true));
    const length = Number(view.getBigUint64(24, true));
    if (offset + length !== source.size || offset < HEAD_BYTES || length > MAX_INDEX_BYTES) {
      throw fail(`it has ${source.size} bytes where ${offset + length} were written`);
    }
    const bytes = await source.read(offset, length);
    const wanted = toHex(head.subarray(32));
    if ((await digest(bytes)) !== wanted) throw fail('its index is damaged');
    const index = parseIndex(bytes);
    if (index === undefined) throw fail('its index is not in the form it has to be in');
    if (JSON.stringify(index.layout) !== JSON.stringify(LAYOUT)) {
      throw fail(`it has another layout of matrices than ${PACK_LAYOUT}, which this release has`);
    }
    for (const key of ['fingerprint', 'precision'] as const) {
      if (index[key] !== content[key]) throw fail(`it holds other weights: ${key} ${index[key]}`);
    }
    const entries = new Map(index.entries.map((entry) => [entry.name, entry] as const));
    const file = new PackedFile(source, digest, entries);
    await file.checkGaps(offset);
    return file;
  }

  /** What lies between arrays belongs to none, and is zero: so that every byte is checked. */
  private async checkGaps(end: number): Promise<void> {
    let at = HEAD_BYTES;
    for (const { offset, bytes } of [...this.entries.values()].flatMap(({ parts }) => parts)) {
      const gap = offset > at ? await this.source.read(at, offset - at) : [];
      if (offset !== align(at) || gap.some((byte) => byte !== 0)) {
        throw packedError(this.source, `it is damaged at byte ${at}`);
      }
      at = offset + bytes;
    }
    if (at !== end) throw packedError(this.source, `it is damaged at byte ${at}`);
  }

  /**
   * A weight in a backend's memory, read straight into it and held against its SHA-256.
   * @throws FormatError (E_PACKED) for one that is damaged, missing or of another shape
   */
  async weight(
    name: string,
    shape: readonly number[],
    backend: Tensor['backend'],
  ): Promise<LinearWeight> {
    const entry = this.entry(name, shape);
    const weight = emptyWeight(entry, backend);
    try {
      for (const [i, tensor] of arraysOf(weight).entries()) {
        await this.fill(name, tensor, entry.parts[i]);
      }
      return weight;
    } catch (error) {
      weight.dispose();
      throw error;
    }
  }

  /**
   * The file itself, for whom weights stay in it.
   * @throws UsageError where it cannot be read in the middle of a pass
   */
  get reader(): WeightReader {
    const { source } = this;
    const { readIntoSync } = source;
    if (!readIntoSync)
      throw new UsageError(`stream: ${source.name}: cannot be read while computing`);
    return { readIntoSync, close: source.close };
  }

  /**
   * Where a weight lies, for whom it stays there.
   * @throws FormatError (E_PACKED) for one that is missing, or of another shape or length
   */
  streamedEntry(name: string, shape: readonly number[]): StreamedEntry {
    const entry = this.entry(name, shape);
    const [rows, columns = 1] = shape;
    const { format, parts } = entry;
    const group = format === 'qc8w' ? INT8_GROUP : INT4_GROUP;
    const bytes =
      format === 'f32' ? 4 * rows * columns : packedByteLength(format, rows, columns, group);
    if (parts.reduce((sum, part) => sum + part.bytes, 0) !== bytes) {
      throw packedError(this.source, `${name} has another length there`);
    }
    return entry;
  }

  /**
   * Holds every array against its SHA-256, a piece at a time: for whom reads it later without.
   * @throws FormatError (E_PACKED) naming the one that is damaged
   */
  async verify(hasher: () => Hasher): Promise<void> {
    const buffer = new Uint8Array(VERIFY_BYTES);
    for (const { name, parts } of this.entries.values()) {
      for (const { offset, bytes, sha256 } of parts) {
        const hash = hasher();
        for (let done = 0; done < bytes; ) {
          const piece = buffer.subarray(0, Math.min(buffer.length, bytes - done));
          await this.source.readInto(offset + done, piece);
          hash.update(piece);
          done += piece.length;
        }
        if (hash.hex() !== sha256) {
          throw packedError(this.source, `${name} is damaged: its SHA-256 is another`);
        }
      }
    }
  }

  private entry(name: string, shape: readonly number[]): PackedEntry {
    const entry = this.entries.get(name);
    if (entry?.shape.join() !== shape.join()) {
      throw packedError(this.source, `it has no ${name} of [${shape}]`);
    }
    return entry;
  }

  private async fill(name: string, tensor: Tensor, part: PackedPart | undefined): Promise<void> {
    const { backend, handle, dtype, numel } = tensor;
    if (part?.bytes !== numel * bytesPerElement(dtype)) {
      throw packedError(this.source, `${name} has another length there`);
    }
    const { bytes, copy } = bytesOf(tensor);
    await this.source.readInto(part.offset, bytes);
    if ((await this.digest(bytes)) !== part.sha256) {
      throw packedError(this.source, `${name} is damaged: its SHA-256 is another`);
    }
    if (copy)
      backend.write(handle, dtype, viewTypedArray(dtype, bytes.buffer, bytes.byteOffset, numel));
  }
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function packedError({ name }: ByteSource, what: string): FormatError {
  return new FormatError(`packed weights: ${name}: ${what}`, 'E_PACKED');
}

/** A model's weights, out of a packed file: its files are not read for them. */
export function packedWeights(source: WeightSource, file: PackedFile): WeightSource {
  return { ...source, packed: (name, shape, backend) => file.weight(name, shape, backend) };
}

/**
 * A model's weights that stay in a packed file, which was verified: layers and matrices of words are
 * read when they are needed, the rest now. The model closes the file.
 * @throws UsageError for a file that cannot be read in the middle of a pass
 */
export function streamedWeights(source: WeightSource, file: PackedFile): WeightSource {
  const { reader } = file;
  return {
    ...packedWeights(source, file),
    streamed: {
      matrix: (name, shape, backend) =>
        new StreamedMatrix(file.streamedEntry(name, shape), reader, backend),
      layers: (names, grow, backend) => {
        const entries = names.map(
          (layer) => new Map(layer.map(([name, shape]) => [name, file.streamedEntry(name, shape)])),
        );
        return new LayerStream(entries, grow, reader, backend);
      },
    },
  };
}

/** A model's weights, each written to a packed file as soon as it is loaded. */
export function packingWeights(
  source: WeightSource,
  writer: Pick<PackedWriter, 'add'>,
): WeightSource {
  return { ...source, loaded: (name, weight) => writer.add(name, weight) };
}
