export * from './codec.ts';
export type { GatherKernel, GemmKernel, QuantKernels } from './kernels/table.ts';
export { gatherQuantizedRows, linearQuantized } from './linear.ts';
export { packedByteLength, packQ41Blocks, packQb4w, packQc8w } from './pack.ts';
export { dequantizeRows, quantizeRows } from './rows.ts';
export {
  type InstalledQuant,
  installQuant,
  kernelVariant,
  type QuantVariant,
  type RelaxedDot,
} from './runtime.ts';
export type { QuantizedLinear, QuantizedRows, WeightFormat } from './types.ts';
