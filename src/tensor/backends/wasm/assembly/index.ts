// The module's exports are the table of kernels (../../../backend.ts), `selfTest`, and what threads
// need to share an attention.
// Raw addresses, f32, no allocation, no static data; any size, any alignment of 4 bytes.
export {
  abs, affine, exp, fill, gelu, geluGrad, log, neg, reciprocal, relu, sigmoid, silu, siluGrad,
  siluMul, sqrt, square, tanh,
} from './elementwise';
export { add, div, greater, maximum, mul, sub } from './binary';
export { lerp, lerpGrad } from './lerp';
export { copy } from './copy';
export { argmax, max_ as max, sum, sumSquares } from './reduce';
export { matmul } from './matmul';
export { logSoftmax, logSoftmaxGrad, rmsNorm, rmsNormGrad, softmax, softmaxGrad } from './norm';
export { layerNorm, layerNormGrad } from './layer-norm';
export { crossEntropyGrad, nllLoss } from './loss';
export { gatherRows, scatterAddRows } from './embedding';
export { dequantizeCodes } from './codes';
export { rope } from './rope';
export { attention, attentionGrad, attentionPart, attentionTiles } from './attention';
export { adamw } from './optimizer';
export { selfTest } from './self-test';
