import type { Backend, Kernels } from '../../backend.ts';
import { bytesPerElement, newTypedArray, type TypedArray } from '../../dtype.ts';
import { attentionKernels } from './attention.ts';
import { codeKernels } from './codes.ts';
import { elementwiseKernels } from './elementwise.ts';
import { embeddingKernels } from './embedding.ts';
import { layoutKernels } from './layout.ts';
import { lossKernels } from './loss.ts';
import { matmulKernels } from './matmul.ts';
import { normKernels } from './norm.ts';
import { optimizerKernels } from './optimizer.ts';
import { reduceKernels } from './reduce.ts';
import { ropeKernels } from './rope.ts';

const kernels: Kernels = {
  ...elementwiseKernels,
  ...layoutKernels,
  ...reduceKernels,
  ...matmulKernels,
  ...normKernels,
  ...lossKernels,
  ...embeddingKernels,
  ...codeKernels,
  ...ropeKernels,
  ...attentionKernels,
  ...optimizerKernels,
};

/**
 * The readable reference backend: plain loops over typed arrays, sums in f64. Runs everywhere and
 * is the oracle of every other backend. Each call makes one with its own account of memory;
 * tensors of two of them do not mix.
 */
export function cpuBackend(): Backend {
  let bytes = 0;
  let peakBytes = 0;
  let allocations = 0;
  return {
    name: 'cpu',
    description: 'cpu (reference)',
    kernels,
    nil: null,
    alloc(dtype, numel) {
      const memory = newTypedArray(dtype, numel);
      bytes += memory.byteLength;
      peakBytes = Math.max(peakBytes, bytes);
      allocations++;
      return memory;
    },
    free(_handle, dtype, numel) {
      bytes -= numel * bytesPerElement(dtype);
      allocations--;
    },
    write(handle: TypedArray, _dtype, data, offset = 0) {
      handle.set(data, offset);
    },
    read(handle: TypedArray, _dtype, numel, offset = 0) {
      return handle.slice(offset, offset + numel);
    },
    view: (handle: TypedArray) => handle,
    memory: () => ({ bytes, peakBytes, allocations }),
  };
}
