import { type Backend, keep, type Tensor, tensor } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import type { LinearWeight } from './nn/linear.ts';
import { packMatrix } from './pack-matrix.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** Called with matrices done and in all. */
export type LoadProgress = (done: number, total: number) => void;

/**
 * Takes a model's weights out of their source one by one, so that only one is held twice, and
 * remembers them, so that a load that fails half-way gives all of them back.
 */
export class WeightLoader {
  private readonly source: WeightSource;
  private readonly precision: WeightPrecision;
  private readonly backend: Backend;
  private readonly held: LinearWeight[] = [];
  private readonly total: number;
  private readonly onProgress: LoadProgress | undefined;
  private done = 0;

  /** @param matrices how many will be asked for, for progress */
  constructor(
    source: WeightSource,
    precision: WeightPrecision,
    backend: Backend,
    matrices: number,
    onProgress?: LoadProgress,
  ) {
    this.source = source;
    this.precision = precision;
    this.backend = backend;
    this.total = matrices;
    this.onProgress = onProgress;
  }

  /** `[rows, columns]`, packed as the precision says. @throws FormatError as the source does */
  async matrix(name: string, rows: number, columns: number): Promise<LinearWeight> {
    const stored = await this.source.matrix(name, rows, columns);
    const packed = packMatrix(stored, this.precision, this.backend);
    this.held.push(packed);
    this.onProgress?.(++this.done, this.total);
    return packed;
  }

  /** `[rows, columns]` in f32 whatever the precision. @throws FormatError as the source does */
  async table(name: string, rows: number, columns: number): Promise<Tensor> {
    const stored = await this.source.matrix(name, rows, columns);
    return this.hold(stored.toFloat32(), [rows, columns]);
  }

  /** `[length]`, f32. @throws FormatError as the source does */
  async vector(name: string, length: number): Promise<Tensor> {
    return this.hold(await this.source.vector(name, length), [length]);
  }

  /** Gives everything loaded so far back. */
  dispose(): void {
    for (const weight of this.held) weight.dispose();
  }

  private hold(values: Float32Array, shape: readonly number[]): Tensor {
    const held = keep(tensor(values, shape, { backend: this.backend }));
    this.held.push(held);
    return held;
  }
}
