import type { Backend } from '../tensor/backend.ts';
import { bytesPerElement, type DType } from '../tensor/dtype.ts';
import { DTypeError } from '../tensor/errors.ts';
import { keep } from '../tensor/scope.ts';
import { Tensor } from '../tensor/tensor.ts';
import { qb4wScaleLayout } from './qb4w-scales.ts';
import { PANEL, type QuantizedLinear, roundUp, type WeightFormat } from './types.ts';

/** A matrix [N,K] as packing lays it out. */
export interface PackedShape {
  readonly format: WeightFormat;
  readonly n: number;
  readonly k: number;
  /** K padded to a multiple of 32. */
  readonly kp: number;
  readonly groupSize: number;
}

/** What packing made of a matrix [N,K]: arrays in the layout that kernels/gemm.ts reads. */
export interface PackedArrays<Format extends WeightFormat = WeightFormat> extends PackedShape {
  /** qc8w: [N/8][Kp/4][8][4] bytes, weight + 64. qb4w: [N/8][Kp/8][8][4], two nibbles a byte. */
  readonly packed: Uint8Array;
  /** qc8w: f32 [N/8][groups][8]. qb4w: bytes [N/8] of a panel's scales (qb4w-scales.ts). */
  readonly scales: Format extends 'qc8w' ? Float32Array : Uint8Array;
}

/** Elements of the arrays of a packed matrix: bytes of weights; numbers (qc8w) or bytes of scales. */
export function packedSizes({ format, n, kp, groupSize }: PackedShape): {
  readonly packed: number;
  readonly scales: number;
} {
  const np = roundUp(n, PANEL);
  return format === 'qc8w'
    ? { packed: np * kp, scales: np * Math.ceil(kp / Math.min(groupSize, kp)) }
    : { packed: (np * kp) / 2, scales: (np / PANEL) * qb4wScaleLayout(kp, groupSize).bytes };
}

/** A packed matrix in a backend's memory, outside every scope. */
export class PackedLinear implements QuantizedLinear {
  readonly kind = 'quantized';
  readonly format: WeightFormat;
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** K padded to a multiple of 32. */
  readonly paddedInner: number;
  readonly groupSize: number;
  readonly backend: Backend;
  readonly packed: Tensor;
  readonly scales: Tensor;

  /** Its memory is uninitialised: `writeRows` fills it, or what reads a file of packed weights. */
  constructor(shape: PackedShape, backend: Backend) {
    this.format = shape.format;
    this.outFeatures = shape.n;
    this.inFeatures = shape.k;
    this.paddedInner = shape.kp;
    this.groupSize = shape.groupSize;
    this.backend = backend;
    const sizes = packedSizes(shape);
    const empty = (numel: number, dtype: DType) => keep(Tensor.empty([numel], dtype, backend));
    this.packed = empty(sizes.packed, 'u8');
    this.scales = empty(sizes.scales, shape.format === 'qc8w' ? 'f32' : 'u8');
  }

  /** Its arrays in the order in which files hold them. */
  get tensors(): readonly Tensor[] {
    return [this.packed, this.scales];
  }

  get byteLength(): number {
    return this.tensors.reduce((sum, one) => sum + one.numel * bytesPerElement(one.dtype), 0);
  }

  /** Puts packed rows in their place, from `row` on, the first of a panel of 8. */
  writeRows(row: number, arrays: PackedArrays): void {
    const { packed, scales } = packedSizes({ ...arrays, n: row });
    this.packed.write(arrays.packed, packed);
    this.scales.write(arrays.scales, scales);
  }

  dispose(): void {
    for (const one of this.tensors) one.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws DTypeError when `w` was not made by this module's packers */
export function expectPacked(operation: string, w: QuantizedLinear): PackedLinear {
  if (!(w instanceof PackedLinear)) {
    throw new DTypeError(`${operation}: weight is not a packed matrix`);
  }
  return w;
}
