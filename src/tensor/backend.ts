import type { DType, TypedArray } from './dtype.ts';
import { BackendError } from './errors.ts';

/**
 * What a backend calls a piece of its memory: a typed array on `cpu`, a byte address on `wasm`.
 * Only the backend and its kernels look inside.
 */
// biome-ignore lint/suspicious/noExplicitAny: opaque on purpose, each backend has its own
export type Handle = any;

/** Four axis lengths or four strides, outermost first; kernels take at most rank 4. */
export type Dims4 = readonly [d0: number, d1: number, d2: number, d3: number];

/** `out[i] = f(x[i])`, i < n. May alias (`out === x`). */
export type UnaryKernel = (out: Handle, x: Handle, n: number) => void;

/** `dx[i] = dy[i] * f'(x[i])`. */
export type UnaryGradKernel = (dx: Handle, x: Handle, dy: Handle, n: number) => void;

/**
 * `out[i0,i1,i2,i3] = f(a[...], b[...])`, out contiguous with lengths d, operands read with their
 * strides (elements; 0 repeats).
 */
export type BinaryKernel = (
  out: Handle,
  a: Handle,
  b: Handle,
  ...dimsAndStrides: [...d: Dims4, ...strideA: Dims4, ...strideB: Dims4]
) => void;

/** Reduces the middle of `[outer, n, inner]`; out `[outer, inner]`. */
export type ReduceKernel = (
  out: Handle,
  x: Handle,
  outer: number,
  n: number,
  inner: number,
) => void;

/**
 * The table of kernels: everything a backend computes. All f32 unless the name of an argument
 * says otherwise. Kernels do not allocate, throw or know tensors; `out` never aliases an input
 * except where said.
 */
export interface Kernels {
  // elementwise
  neg: UnaryKernel;
  abs: UnaryKernel;
  exp: UnaryKernel;
  log: UnaryKernel;
  sqrt: UnaryKernel;
  square: UnaryKernel;
  reciprocal: UnaryKernel;
  sigmoid: UnaryKernel;
  tanh: UnaryKernel;
  relu: UnaryKernel;
  /** x * Phi(x), erf form. */
  gelu: UnaryKernel;
  silu: UnaryKernel;
  geluGrad: UnaryGradKernel;
  siluGrad: UnaryGradKernel;
  add: BinaryKernel;
  sub: BinaryKernel;
  mul: BinaryKernel;
  div: BinaryKernel;
  maximum: BinaryKernel;
  /** 1 where a > b, else 0. */
  greater: BinaryKernel;
  /** `out[i] = x[i] * scale + shift`. */
  affine: (out: Handle, x: Handle, n: number, scale: number, shift: number) => void;
  /** `out[i] = silu(gate[i]) * up[i]` (SwiGLU, Shazeer 2020). */
  siluMul: (out: Handle, gate: Handle, up: Handle, n: number) => void;
  /** `out[i] = a[i] + (b[i] - a[i]) * share[0]`. */
  lerp: (out: Handle, a: Handle, b: Handle, share: Handle, n: number) => void;
  /**
   * Of `lerp`, over rows of width d: `dA = dy (1 - share)`, `dB = dy share`, each `nil` where nobody
   * wants it; `dShareRows[row] = sum dy (b - a)` over the row.
   */
  lerpGrad: (
    dA: Handle,
    dB: Handle,
    dShareRows: Handle,
    a: Handle,
    b: Handle,
    share: Handle,
    dy: Handle,
    rows: number,
    d: number,
  ) => void;
  /** `out[i] = value`. */
  fill: (out: Handle, n: number, value: number) => void;

  // layout
  /** Strided copy `out[oOff + i.oS] = x[xOff + i.xS]` over four axes: slice, permute, concat, broadcast. */
  copy: (
    out: Handle,
    outOffset: number,
    x: Handle,
    xOffset: number,
    ...dimsAndStrides: [...d: Dims4, ...strideOut: Dims4, ...strideX: Dims4]
  ) => void;

  // reduce
  sum: ReduceKernel;
  max: ReduceKernel;
  /** `out[0]` = sum of x^2 over n elements. */
  sumSquares: (out: Handle, x: Handle, n: number) => void;
  /** Index (i32) of the first maximum. */
  argmax: ReduceKernel;

  // matmul
  /**
   * `out[b,m,n] = sum_k A[b,m,k] B[b,k,n]`; `transA`: A stored `[k,m]`, `transB`: B stored `[n,k]`
   * (0 or 1); batch strides in elements, 0 repeats an operand.
   */
  matmul: (
    out: Handle,
    a: Handle,
    b: Handle,
    batch: number,
    m: number,
    n: number,
    k: number,
    transA: number,
    transB: number,
    strideA: number,
    strideB: number,
  ) => void;

  // norm and softmax, over rows of width d
  /** `out = x * rstd * weight`, `rstd[row] = 1/sqrt(mean(x^2) + eps)`; weight may be `nil`. */
  rmsNorm: (
    out: Handle,
    rstd: Handle,
    x: Handle,
    weight: Handle,
    rows: number,
    d: number,
    eps: number,
  ) => void;
  /** `dx = rstd * (g - xhat * mean(g * xhat))`, `xhat = x * rstd`, `g = dy * weight`. */
  rmsNormGrad: (
    dx: Handle,
    x: Handle,
    rstd: Handle,
    weight: Handle,
    dy: Handle,
    rows: number,
    d: number,
  ) => void;
  /**
   * `out = (x - mean) * rstd * weight + bias`, `mean[row] = mean(x)`,
   * `rstd[row] = 1/sqrt(mean((x - mean)^2) + eps)`; weight and bias may be `nil`.
   */
  layerNorm: (
    out: Handle,
    mean: Handle,
    rstd: Handle,
    x: Handle,
    weight: Handle,
    bias: Handle,
    rows: number,
    d: number,
    eps: number,
  ) => void;
  /**
   * `dx = rstd * (g - mean(g) - xhat * mean(g * xhat))`, `xhat = (x - mean) * rstd`,
   * `g = dy * weight`.
   */
  layerNormGrad: (
    dx: Handle,
    x: Handle,
    mean: Handle,
    rstd: Handle,
    weight: Handle,
    dy: Handle,
    rows: number,
    d: number,
  ) => void;
  /** `out = exp(x - max) / sum(exp(x - max))`, max and sum over the row. */
  softmax: (out: Handle, x: Handle, rows: number, d: number) => void;
  /** `out = x - max - log(sum(exp(x - max)))`, max and sum over the row. */
  logSoftmax: (out: Handle, x: Handle, rows: number, d: number) => void;
  /** `dx = y * (dy - sum(dy * y))`. */
  softmaxGrad: (dx: Handle, y: Handle, dy: Handle, rows: number, d: number) => void;
  /** `dx = dy - exp(y) * sum(dy)`, y the log-probabilities. */
  logSoftmaxGrad: (dx: Handle, y: Handle, dy: Handle, rows: number, d: number) => void;

  // loss
  /** `lossRows[row] = -logProbs[row, target]`; 0 where `targets[row]` (i32) is -100. */
  nllLoss: (
    lossRows: Handle,
    logProbs: Handle,
    targetsI32: Handle,
    rows: number,
    classes: number,
  ) => void;
  /** `dLogits[row,c] = (exp(logProbs) - [c == target]) * dLossRows[row]`; 0 for ignored rows. */
  crossEntropyGrad: (
    dLogits: Handle,
    logProbs: Handle,
    targetsI32: Handle,
    dLossRows: Handle,
    rows: number,
    classes: number,
  ) => void;

  // embedding
  /** `out[i] = table[ids[i]]`, rows of width d. */
  gatherRows: (out: Handle, table: Handle, idsI32: Handle, n: number, d: number) => void;
  /** `out[ids[i]] += dy[i]`; the caller zeroes out. */
  scatterAddRows: (out: Handle, dy: Handle, idsI32: Handle, n: number, d: number) => void;

  // codes
  /**
   * `out[r,i] = shift[c] + scale[c] * levels[code] * groupScales[r, floor(i / group)]`,
   * `c = (r mod kinds) * d + i`, scale and shift `[kinds, d]`. Codes of `bits` (a divisor of 24) are
   * whole numbers packed from the lowest bits up into f32 words of 24 bits, a row beginning a new word;
   * levels `[2^bits]`. With `nil` for levels a word is the level of one code itself.
   */
  dequantizeCodes: (
    out: Handle,
    words: Handle,
    levels: Handle,
    groupScales: Handle,
    scale: Handle,
    shift: Handle,
    rows: number,
    d: number,
    bits: number,
    group: number,
    kinds: number,
  ) => void;

  // rotary and attention
  /**
   * Rotates pairs (j, j + headDim/2) of every head (Su et al. 2021, half-split layout):
   * x, out `[rows, heads, headDim]`; cos, sin `[positions, headDim/2]`; `sign` -1 undoes.
   */
  rope: (
    out: Handle,
    x: Handle,
    cos: Handle,
    sin: Handle,
    positionsI32: Handle,
    rows: number,
    heads: number,
    headDim: number,
    sign: number,
  ) => void;
  /**
   * Scaled dot-product attention over packed sequences. q, out `[T, heads, headDim]`; k, v
   * `[T, kvHeads, headDim]`; segment s covers rows `segments[2s] .. + segments[2s+1]` (i32).
   * Each token sees `past` rows of kPast, vPast `[>= past, kvHeads, headDim]` (nil when past is 0),
   * shared by all segments, then its own segment: up to itself when `causal` is 1, all when 0.
   */
  attention: (
    out: Handle,
    q: Handle,
    k: Handle,
    v: Handle,
    kPast: Handle,
    vPast: Handle,
    past: number,
    segmentsI32: Handle,
    segmentCount: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    scale: number,
    causal: number,
  ) => void;
  /** Gradients of `attention` without a past; dk, dv, dq are overwritten. */
  attentionGrad: (
    dq: Handle,
    dk: Handle,
    dv: Handle,
    q: Handle,
    k: Handle,
    v: Handle,
    dy: Handle,
    segmentsI32: Handle,
    segmentCount: number,
    heads: number,
    kvHeads: number,
    headDim: number,
    scale: number,
    causal: number,
  ) => void;

  // optimizer
  /**
   * AdamW (Loshchilov & Hutter 2019, algorithm 2): g' = g * gradScale[0];
   * m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'^2;
   * p = p - lr * (m / biasCorrection1 / (sqrt(v / biasCorrection2) + eps) + weightDecay * p).
   * `outP/outM/outV` may alias `p/m/v`.
   */
  adamw: (
    outP: Handle,
    outM: Handle,
    outV: Handle,
    p: Handle,
    m: Handle,
    v: Handle,
    g: Handle,
    gradScale: Handle,
    n: number,
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    biasCorrection1: number,
    biasCorrection2: number,
  ) => void;
}

/** A step that a backend has compiled; called like the step, answers later. */
export interface CompiledStep<A extends readonly unknown[], R> {
  (...args: A): Promise<R>;
  /** What ran the last call, for example `fused-sync`; null before the first. */
  readonly executor: string | null;
  /** Why a faster way was not taken; null where none was. */
  readonly fallbackReason: string | null;
  /** Plans made so far: one for each form that the step takes. */
  readonly plans: number;
  /** Gives back what was compiled. */
  destroy(): Promise<void>;
}

/** What must be there for tensors to live and compute: memory and one table of kernels. */
export interface Backend {
  /** `cpu`, `wasm`; shown to people. */
  readonly name: string;
  /** What really runs, for example `wasm (simd128)`; shown to people. */
  readonly description: string;
  readonly kernels: Kernels;
  /** Stands for an operand that is not there. */
  readonly nil: Handle;
  /** Uninitialised memory for `numel` elements. @throws BackendError when out of memory */
  alloc(dtype: DType, numel: number): Handle;
  /** Takes back what `alloc` gave for the same dtype and numel. */
  free(handle: Handle, dtype: DType, numel: number): void;
  /** Copies `data` to the start of the memory, or to `offset` (elements). */
  write(handle: Handle, dtype: DType, data: TypedArray, offset?: number): void;
  /** A copy of `numel` elements from `offset` (elements, default 0). */
  read(handle: Handle, dtype: DType, numel: number, offset?: number): TypedArray;
  /**
   * The elements themselves, to be filled without a copy on the way; dead as soon as anything is
   * allocated. Left out where memory cannot be seen from here. Threads may share that memory: what
   * refuses a SharedArrayBuffer (Web Crypto, messages, browsers' decoders of text) takes a copy.
   */
  view?(handle: Handle, dtype: DType, numel: number): TypedArray;
  /** Makes one unit of a step (see `compile` in compile.ts); without it steps run as they stand. */
  compile?<A extends readonly unknown[], R>(step: (...args: A) => R): CompiledStep<A, R>;
  /** Bytes now allocated, the most there ever were, and how many pieces. */
  memory(): { bytes: number; peakBytes: number; allocations: number };
}

let current: Backend | undefined;

/** Makes `backend` the one on which new tensors are created. */
export function setBackend(backend: Backend): void {
  current = backend;
}

/** The backend on which new tensors are created. @throws BackendError when none was set */
export function defaultBackend(): Backend {
  if (!current) {
    throw new BackendError(
      'no backend: call setBackend(cpuBackend()) or setBackend(wasmBackend())',
    );
  }
  return current;
}
