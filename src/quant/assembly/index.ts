// Integer kernels in SIMD. Raw pointers into the backend's memory, no static data: the module
// shares that memory with the f32 kernels and must own none of it.
export { quantizeRowsQd8 } from './quantize-rows';
export { gemmQd8F32Qc8w } from './gemm-qc8w';
export { gemmQd8F32Qb4w } from './gemm-qb4w';
export { gatherRowsQc8w, gatherRowsQb4w } from './gather';
