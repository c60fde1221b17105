import { linearQuantized, type QuantizedLinear, quantizeRows } from '../../quant/index.ts';
import { add, matmul, Tensor } from '../../tensor/index.ts';

/** A weight matrix `[N, K]`, in f32 or in integers. */
export type LinearWeight = Tensor | QuantizedLinear;

/**
 * Inputs that share an int8 scale. A decoder's rows have outlier channels (position 0's residual
 * maximum is 22,500 in SmolLM2, and SwiGLU's product is where it rises), so one scale a row rounds
 * the rest of that row to nothing. `test/parity/perplexity-int8.test.ts` holds what 128 cost.
 */
const ACTIVATION_GROUP = 128;

/** What is added to a matmul's result. */
export interface LinearOptions {
  /** `[N]`, added to every row. */
  readonly bias?: Tensor;
  /** `[R, N]`, added to the result (in the integer kernel's epilogue). */
  readonly residual?: Tensor;
}

/** `x W^T + bias + residual`: `[R, K]` by `[N, K]` to `[R, N]`. */
export function linear(x: Tensor, weight: LinearWeight, options: LinearOptions = {}): Tensor {
  if (!(weight instanceof Tensor)) return linearQuantized(quantize(x), weight, options);
  const { bias, residual } = options;
  let y = matmul(x, weight, { transB: true });
  if (bias) y = add(y, bias);
  return residual ? add(y, residual) : y;
}

/**
 * Several linears of one input, which is quantized once for all of them.
 * @param biases one `[N]` for each weight
 */
export function linears(
  x: Tensor,
  weights: readonly LinearWeight[],
  biases?: readonly Tensor[],
): Tensor[] {
  let rows: ReturnType<typeof quantize> | undefined;
  return weights.map((weight, i) => {
    const bias = biases?.[i];
    if (weight instanceof Tensor) return linear(x, weight, { bias });
    rows ??= quantize(x);
    return linearQuantized(rows, weight, { bias });
  });
}

function quantize(x: Tensor) {
  return quantizeRows(x, { groupSize: ACTIVATION_GROUP });
}
