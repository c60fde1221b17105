import type { Backend } from '../tensor/backend.ts';
import { bytesPerElement, type DType } from '../tensor/dtype.ts';
import { DTypeError } from '../tensor/errors.ts';
import { keep } from '../tensor/scope.ts';
import { Tensor } from '../tensor/tensor.ts';
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
export interface PackedArrays extends PackedShape {
  /** qc8w: [N/8][Kp/4][8][4] bytes, weight + 64. qb4w: [N/8][Kp/8][8][4], two nibbles a byte. */
  readonly packed: Uint8Array;
  /** [N/8][groups][8]: f32 for qc8w, f16 bits for qb4w. */
  readonly scales: Float32Array | Uint16Array;
  /** f16 bits as `scales`; null for qc8w. */
  readonly mins: Uint16Array | null;
}

/** Elements of the arrays of a packed matrix: bytes of weights, and scales. */
export function packedSizes({ format, n, kp, groupSize }: PackedShape): {
  readonly packed: number;
  readonly scales: number;
} {
  const np = roundUp(n, PANEL);
  const packed = format === 'qc8w' ? np * kp : (np * kp) / 2;
  return { packed, scales: np * Math.ceil(kp / Math.min(groupSize, kp)) };
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
  readonly mins: Tensor | null;

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
    const eight = shape.format === 'qc8w';
    this.packed = empty(sizes.packed, 'u8');
    this.scales = empty(sizes.scales, eight ? 'f32' : 'u16');
    this.mins = eight ? null : empty(sizes.scales, 'u16');
  }

  /** Its arrays in the order in which files hold them. */
  get tensors(): readonly Tensor[] {
    return this.mins ? [this.packed, this.scales, this.mins] : [this.packed, this.scales];
  }

  get byteLength(): number {
    return this.tensors.reduce((sum, one) => sum + one.numel * bytesPerElement(one.dtype), 0);
  }

  /** Puts packed rows in their place, from `row` on, the first of a panel of 8. */
  writeRows(row: number, arrays: PackedArrays): void {
    const { packed, scales } = packedSizes({ ...arrays, n: row });
    this.packed.write(arrays.packed, packed);
    this.scales.write(arrays.scales, scales);
    if (arrays.mins) this.mins?.write(arrays.mins, scales);
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
