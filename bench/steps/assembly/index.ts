// All steps in one module: sums [M,N] of x [M,K] (i8) times w (0..127) into i32. M, N and K divide by
// what a tile takes; edges, scales, biases and groups are the real kernel's business (step 7).
export { scalar } from './2-scalar';
export { simd } from './3-simd';
export { tiled } from './4-tiled';
export { packed } from './5-packed';
export { relaxed } from './6-relaxed';
