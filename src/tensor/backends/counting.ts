import type { Backend, Handle, Kernels } from '../backend.ts';
import { bytesPerElement, newTypedArray } from '../dtype.ts';

/** Addresses of a linear memory are multiples of this, and pieces are rounded up to it. */
const ALIGNMENT = 64;

/**
 * A backend that computes nothing and holds nothing, but counts what it would hold: what runs on it
 * tells how much memory it takes. Whole numbers are kept, since operations look at ids and bounds; all
 * others are 1.
 */
export function countingBackend(): Backend {
  let [bytes, peakBytes, allocations, next] = [0, 0, 0, 1];
  const integers = new Map<Handle, Int32Array>();
  const sizeOf = (dtype: Parameters<Backend['alloc']>[0], numel: number) =>
    Math.max(1, Math.ceil((numel * bytesPerElement(dtype)) / ALIGNMENT)) * ALIGNMENT;
  return {
    name: 'counting',
    description: 'counting',
    kernels: new Proxy({} as Kernels, { get: () => () => 0 }),
    nil: 0,
    alloc(dtype, numel) {
      bytes += sizeOf(dtype, numel);
      peakBytes = Math.max(peakBytes, bytes);
      allocations++;
      return next++;
    },
    free(handle, dtype, numel) {
      integers.delete(handle);
      bytes -= sizeOf(dtype, numel);
      allocations--;
    },
    write(handle, _dtype, data, offset = 0) {
      if (data instanceof Int32Array && offset === 0) integers.set(handle, data.slice());
    },
    read(handle, dtype, numel, offset = 0) {
      const kept = integers.get(handle)?.slice(offset, offset + numel);
      return kept?.length === numel ? kept : newTypedArray(dtype, numel).fill(1);
    },
    memory: () => ({ bytes, peakBytes, allocations }),
  };
}
