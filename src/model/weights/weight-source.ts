import type { Backend } from '../../tensor/index.ts';
import type { LinearWeight } from '../nn/linear.ts';
import type { LayerStream, StreamedMatrix } from '../nn/weight-stream.ts';
import type { GgmlType } from './dequantize.ts';

/** A matrix as a file holds it: rows of blocks, and the way to plain numbers. */
export interface StoredMatrix {
  /** Rows N (outputs) and columns K (inputs). */
  readonly rows: number;
  readonly columns: number;
  /** Block format of `bytes`. */
  readonly type: GgmlType;
  /** Row after row. */
  readonly bytes: Uint8Array;
  /** `[N, K]` as f32. */
  toFloat32(): Float32Array;
}

/** Weights that are read in the middle of a forward pass. */
export interface StreamedWeights {
  /** @throws FormatError when missing or of another shape */
  matrix(name: string, shape: readonly number[], backend: Backend): StreamedMatrix;
  /**
   * @param names of each layer's weights, with their shapes
   * @param grow a layer out of its weights by name
   * @throws FormatError when one is missing or of another shape
   */
  layers<Layer>(
    names: readonly (readonly (readonly [name: string, shape: readonly number[]])[])[],
    grow: (index: number, held: ReadonlyMap<string, LinearWeight>) => Layer,
    backend: Backend,
  ): LayerStream<Layer>;
}

/**
 * Where a model's weights come from, under the names of its own architecture file: a checkpoint,
 * or a generator for a randomly initialised backbone.
 */
export interface WeightSource {
  /** SHA-256 (hex) that tells this set of weights from every other. */
  readonly fingerprint: string;
  /** Whether there is a matrix or vector of that name. */
  has(name: string): boolean;
  /**
   * How a matrix or vector is stored, without reading it.
   * @throws FormatError when missing, of another shape, or in a format that is not read
   */
  type(name: string, shape: readonly number[]): GgmlType;
  /** @throws FormatError when missing or of another shape */
  matrix(name: string, rows: number, columns: number): Promise<StoredMatrix>;
  /** @throws FormatError when missing or of another length */
  vector(name: string, length: number): Promise<Float32Array>;
  /** Where weights lie packed already: one in a backend's memory, as a plan would have made it. */
  packed?(name: string, shape: readonly number[], backend: Backend): Promise<LinearWeight>;
  /** Where weights stay in a packed file: matrices of words, and layers by the names of their weights. */
  readonly streamed?: StreamedWeights;
  /** Is told every weight of a plan once it lies in a backend's memory. */
  loaded?(name: string, weight: LinearWeight): Promise<void>;
}
