// Integer kernels in SIMD. Raw pointers into the backend's memory, no static data: the module
// shares that memory with the f32 kernels and must own none of it.
export { quantizeRowsQd8 } from './quantize-rows';
export { gemmPartQd8F32Qb4w, gemmPartQd8F32Qc8w, gemmQd8F32Qb4w, gemmQd8F32Qc8w } from './gemm';
export { relaxedDotProbe, useWideDot } from './dot';
export { gatherRowsQc8w, gatherRowsQb4w } from './gather';
export { encodeRows } from './encode-rows';
