import {
  affine,
  gelu,
  mul,
  relu,
  scope,
  sigmoid,
  square,
  type Tensor,
} from '../../tensor/index.ts';

/**
 * GELU in its tanh form, x (1 + tanh(c (x + a x^3))) / 2 with c = sqrt(2/pi), a = 0.044715
 * (Hendrycks & Gimpel 2016), computed as x sigmoid(2 c (x + a x^3)), which is the same number.
 */
export function geluTanh(x: Tensor): Tensor {
  const c = 2 * Math.sqrt(2 / Math.PI);
  return scope(() => mul(x, sigmoid(mul(x, affine(square(x), 0.044715 * c, c)))));
}

/** An activation that is built in, by Hugging Face's name. */
export type ActivationName = 'relu' | 'gelu' | 'gelu_new' | 'gelu_pytorch_tanh';

/** Element-wise activations by name. */
export const ACTIVATIONS: Readonly<Record<ActivationName, (x: Tensor) => Tensor>> = {
  relu,
  gelu,
  gelu_new: geluTanh,
  gelu_pytorch_tanh: geluTanh,
};

/** Their names. */
export const ACTIVATION_NAMES = Object.keys(ACTIVATIONS) as ActivationName[];
