import type { ByteSource } from '../../platform/byte-source.ts';
import {
  emptyPacked,
  gatherQuantizedRows,
  PANEL,
  type PackedLinear,
  type WeightFormat,
} from '../../quant/index.ts';
import {
  type Backend,
  bytesPerElement,
  gatherRows,
  keep,
  ShapeError,
  Tensor,
  tensor,
  viewTypedArray,
} from '../../tensor/index.ts';
import { INT4_GROUP, INT8_GROUP } from '../pack-matrix.ts';
import type { LinearWeight } from './linear.ts';

/** What layers and rows of matrices are read from in the middle of a pass. */
export type WeightReader = Required<Pick<ByteSource, 'readIntoSync' | 'close'>>;

/** A weight's arrays in the file, in the order in which `PackedLinear` has them. */
export interface StreamedEntry {
  readonly format: WeightFormat | 'f32';
  readonly shape: readonly number[];
  readonly parts: readonly { readonly offset: number; readonly bytes: number }[];
}

/** The layers of a model: all of them in memory, or one at a time. */
export type Layers<Layer> = readonly Layer[] | LayerStream<Layer>;

/** A matrix of words `[V, D]`: in memory, or rows and pieces of it out of a file. */
export type TableWeight = LinearWeight | StreamedMatrix;

/** Uninitialised memory in the form of an entry; outside every scope. */
export function emptyWeight({ format, shape }: StreamedEntry, backend: Backend): LinearWeight {
  if (format === 'f32') return keep(Tensor.empty(shape, 'f32', backend));
  const group = format === 'qc8w' ? INT8_GROUP : INT4_GROUP;
  return emptyPacked(format, shape[0], shape[1], group, backend);
}

/** The arrays of a weight, in the order in which files hold them. */
export function arraysOf(weight: LinearWeight): readonly Tensor[] {
  return weight instanceof Tensor ? [weight] : (weight as PackedLinear).tensors;
}

/** A tensor's memory as bytes: itself where it can be seen, until anything is allocated. */
export function bytesOf({ backend, handle, dtype, numel }: Tensor): {
  readonly bytes: Uint8Array;
  readonly copy: boolean;
} {
  const view = backend.view?.(handle, dtype, numel);
  const seen = view ?? backend.read(handle, dtype, numel);
  const bytes = new Uint8Array(seen.buffer, seen.byteOffset, seen.byteLength);
  return { bytes, copy: view === undefined };
}

/** Lets `read` fill the elements of a tensor from `offset` on, straight in its memory where it can. */
function fillTensor(
  tensor: Tensor,
  read: (bytes: Uint8Array) => void,
  offset = 0,
  length = tensor.numel,
): void {
  const { backend, handle, dtype } = tensor;
  const { bytes, copy } = bytesOf(tensor);
  const width = bytesPerElement(dtype);
  read(bytes.subarray(offset * width, (offset + length) * width));
  if (copy) {
    backend.write(
      handle,
      dtype,
      viewTypedArray(dtype, bytes.buffer, bytes.byteOffset, tensor.numel),
    );
  }
}

/**
 * The layers of a model, each out of the file when it is its turn: one is in memory. Reading the next
 * one meanwhile would take a second slot, to hide 0.4% of the time of a batch (SmolLM2-135M in int4,
 * 8 x 128 tokens, a file that the system has in memory).
 */
export class LayerStream<Layer> {
  readonly length: number;
  /** Of all layers, as they lie in the file. */
  readonly byteLength: number;
  /** Bytes of the largest layer: what the slot takes. */
  readonly slotBytes: number;
  readonly formats: ReadonlySet<WeightFormat>;
  private readonly entries: readonly ReadonlyMap<string, StreamedEntry>[];
  private readonly grow: (index: number, held: ReadonlyMap<string, LinearWeight>) => Layer;
  private readonly reader: WeightReader;
  private readonly backend: Backend;
  private held: { index: number; layer: Layer; weights: LinearWeight[] } | undefined;

  /** @param grow a layer out of its weights by name */
  constructor(
    entries: readonly ReadonlyMap<string, StreamedEntry>[],
    grow: (index: number, held: ReadonlyMap<string, LinearWeight>) => Layer,
    reader: WeightReader,
    backend: Backend,
  ) {
    this.entries = entries;
    this.grow = grow;
    this.reader = reader;
    this.backend = backend;
    this.length = entries.length;
    const bytes = entries.map((layer) => partsOf(layer).reduce((sum, part) => sum + part.bytes, 0));
    this.byteLength = bytes.reduce((sum, one) => sum + one, 0);
    this.slotBytes = Math.max(0, ...bytes);
    this.formats = new Set(
      entries.flatMap((layer) =>
        Array.from(layer.values(), ({ format }) => format).filter((format) => format !== 'f32'),
      ),
    );
  }

  /** A layer's weights, in place of those of any other. */
  acquire(index: number): Layer {
    if (this.held?.index === index) return this.held.layer;
    this.release();
    const held = new Map<string, LinearWeight>();
    const weights: LinearWeight[] = [];
    try {
      // All are allocated before the first is filled: a view dies when memory grows.
      for (const [name, entry] of this.entries[index]) {
        const weight = emptyWeight(entry, this.backend);
        weights.push(weight);
        held.set(name, weight);
      }
      let w = 0;
      for (const { parts } of this.entries[index].values()) {
        for (const [i, array] of arraysOf(weights[w++]).entries()) {
          fillTensor(array, (bytes) => this.reader.readIntoSync(parts[i].offset, bytes));
        }
      }
    } catch (error) {
      for (const weight of weights) weight.dispose();
      throw error;
    }
    const layer = this.grow(index, held);
    this.held = { index, layer, weights };
    return layer;
  }

  /** Gives the slot and the file back. */
  dispose(): void {
    this.release();
    void this.reader.close();
  }

  private release(): void {
    for (const weight of this.held?.weights ?? []) weight.dispose();
    this.held = undefined;
  }
}

function partsOf(layer: ReadonlyMap<string, StreamedEntry>): StreamedEntry['parts'][number][] {
  return Array.from(layer.values(), ({ parts }) => parts).flat();
}

/** Bytes of a matrix that are in memory at once where it is read in pieces. */
const PIECE_BYTES = 2 ** 19;

/** A matrix `[N, K]` that stays in its file: rows of it are looked up, or it is read in pieces. */
export class StreamedMatrix {
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
  /** As it lies in the file; none of it stays in memory. */
  readonly byteLength: number;
  readonly formats: ReadonlySet<WeightFormat>;
  private readonly entry: StreamedEntry;
  private readonly reader: WeightReader;
  private readonly backend: Backend;
  /** Rows that lie interleaved, and can be had together only. */
  private readonly panel: number;

  constructor(entry: StreamedEntry, reader: WeightReader, backend: Backend) {
    this.entry = entry;
    this.reader = reader;
    this.backend = backend;
    [this.outFeatures, this.inFeatures] = entry.shape;
    this.byteLength = entry.parts.reduce((sum, { bytes }) => sum + bytes, 0);
    this.formats = new Set(entry.format === 'f32' ? [] : [entry.format]);
    this.panel = entry.format === 'f32' ? 1 : PANEL;
  }

  /**
   * Rows `ids` as f32 `[T, K]`: the panels that hold them are read, and nothing else.
   * @throws ShapeError for an id outside 0..N-1
   */
  gather(ids: Int32Array): Tensor {
    const { panel, outFeatures: rows, backend } = this;
    const bad = ids.find((id) => id < 0 || id >= rows);
    if (bad !== undefined) throw new ShapeError(`embedding: id ${bad} outside 0..${rows - 1}`);
    const places = new Map<number, number>();
    const local = ids.map((id) => {
      const wanted = Math.floor(id / panel);
      const place = places.get(wanted) ?? places.size;
      places.set(wanted, place);
      return place * panel + (id % panel);
    });
    const weight = this.read([...places.keys()]);
    try {
      const index = tensor(local, [ids.length], { backend });
      return weight instanceof Tensor
        ? gatherRows(weight, index)
        : gatherQuantizedRows(weight, index);
    } finally {
      weight.dispose();
    }
  }

  /** The whole matrix, some rows after the other; each piece is gone when the next one is asked for. */
  *pieces(): Generator<{ readonly from: number; readonly weight: LinearWeight }> {
    const panels = Math.ceil(this.outFeatures / this.panel);
    const step = Math.max(1, Math.floor((PIECE_BYTES * panels) / Math.max(1, this.byteLength)));
    for (let first = 0; first < panels; first += step) {
      const count = Math.min(step, panels - first);
      const weight = this.read(Array.from({ length: count }, (_, i) => first + i));
      try {
        yield { from: first * this.panel, weight };
      } finally {
        weight.dispose();
      }
    }
  }

  /** Nothing of it is held. */
  dispose(): void {}

  /** Panels side by side as a matrix; where the last one is the matrix' last, it is as short. */
  private read(panels: readonly number[]): LinearWeight {
    const { entry, panel, backend } = this;
    const missing = (panels.at(-1) ?? 0) * panel + panel - this.outFeatures;
    const count = panels.length * panel - Math.max(0, missing);
    const weight = emptyWeight({ ...entry, shape: [count, this.inFeatures] }, backend);
    const stored = Math.ceil(this.outFeatures / panel);
    for (const [i, array] of arraysOf(weight).entries()) {
      const { offset, bytes } = entry.parts[i];
      const stride = bytes / stored;
      fillTensor(array, (target) => {
        // Neighbours in one read.
        for (let at = 0; at < panels.length; ) {
          let run = 1;
          while (panels[at + run] === panels[at] + run) run++;
          const piece = target.subarray(at * stride, (at + run) * stride);
          this.reader.readIntoSync(offset + panels[at] * stride, piece);
          at += run;
        }
      });
    }
    return weight;
  }
}
