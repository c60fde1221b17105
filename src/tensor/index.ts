/**
 * What a tensor is and every operation on it. Set a backend, then make tensors:
 * `setBackend(cpuBackend()); const y = matmul(tensor([[1, 2]]), tensor([[3], [4]]));`
 * @module
 */
export {
  isRecording,
  isTracked,
  noGrad,
  record,
  type Vjp,
  valueAndGrad,
} from './autograd.ts';
export {
  type Backend,
  type BinaryKernel,
  type CompiledStep,
  type Dims4,
  defaultBackend,
  type Handle,
  type Kernels,
  type ReduceKernel,
  setBackend,
  type UnaryGradKernel,
  type UnaryKernel,
} from './backend.ts';
export { countingBackend } from './backends/counting.ts';
export { cpuBackend } from './backends/cpu/index.ts';
export {
  GPU_MODES,
  type GpuAdapter,
  type GpuBackend,
  type GpuMode,
  type GpuOptions,
  gpuBackend,
  hasGpuApi,
} from './backends/gpu/index.ts';
export {
  MOST_THREADS,
  type WasmBackend,
  type WasmOptions,
  type WasmVariant,
  wasmBackend,
} from './backends/wasm/index.ts';
export type { ThreadPort } from './backends/wasm/kernel-thread.ts';
export type { KernelThread, SpawnThread } from './backends/wasm/thread-pool.ts';
export { compile } from './compile.ts';
export {
  bytesPerElement,
  type DType,
  dtypeOf,
  f16ToNumber,
  newTypedArray,
  numberToF16,
  type TypedArray,
  viewTypedArray,
} from './dtype.ts';
export * from './errors.ts';
export * from './ops/index.ts';
export { type Random, random, randomNormal, randomUniform } from './random.ts';
export { keep, live, scope } from './scope.ts';
export {
  broadcastShapes,
  broadcastStrides,
  formatShape,
  inferShape,
  normalizeAxis,
  numelOf,
  type Shape,
  sameShape,
  stridesOf,
} from './shape.ts';
export {
  commonBackend,
  expectDType,
  expectUsable,
  full,
  type Nested,
  ones,
  Tensor,
  tensor,
  zeros,
} from './tensor.ts';
export { disposeTree, flatten, leaves, mapTree, type Tree } from './tree.ts';
