import type { Backend } from '../tensor/backend.ts';
import { bytesPerElement, type TypedArray } from '../tensor/dtype.ts';
import { DTypeError } from '../tensor/errors.ts';
import { keep } from '../tensor/scope.ts';
import { type Tensor, tensor } from '../tensor/tensor.ts';
import type { QuantizedLinear, WeightFormat } from './types.ts';

/** What packing made of a matrix [N,K]: arrays in the layout that kernels/gemm.ts reads. */
export interface PackedArrays {
  readonly format: WeightFormat;
  readonly n: number;
  readonly k: number;
  readonly kp: number;
  readonly groupSize: number;
  /** qc8w: [N/8][Kp/4][8][4] bytes, weight + 64. qb4w: [N/8][Kp/8][8][4], two nibbles a byte. */
  readonly packed: Uint8Array;
  /** [N/8][groups][8]: f32 for qc8w, f16 bits for qb4w. */
  readonly scales: Float32Array | Uint16Array;
  /** f16 bits as `scales`; null for qc8w. */
  readonly mins: Uint16Array | null;
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

  constructor(arrays: PackedArrays, backend: Backend) {
    this.format = arrays.format;
    this.outFeatures = arrays.n;
    this.inFeatures = arrays.k;
    this.paddedInner = arrays.kp;
    this.groupSize = arrays.groupSize;
    this.backend = backend;
    const put = (array: TypedArray) => keep(tensor(array, undefined, { backend }));
    this.packed = put(arrays.packed);
    this.scales = put(arrays.scales);
    this.mins = arrays.mins && put(arrays.mins);
  }

  get byteLength(): number {
    let bytes = 0;
    for (const one of [this.packed, this.scales, this.mins]) {
      if (one) bytes += one.numel * bytesPerElement(one.dtype);
    }
    return bytes;
  }

  dispose(): void {
    this.packed.dispose();
    this.scales.dispose();
    this.mins?.dispose();
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
