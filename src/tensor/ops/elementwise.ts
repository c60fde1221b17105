import { isTracked, record } from '../autograd.ts';
import { ShapeError } from '../errors.ts';
import { formatShape } from '../shape.ts';
import { commonBackend, expectDType, full, Tensor } from '../tensor.ts';
import { binary, expectSameShape, reduceTo, scaled, unary } from './launch.ts';

/** Gradient of an operand that broadcasting repeated: the sum over the repeats. */
function unbroadcast(dy: Tensor, operand: Tensor): Tensor {
  return reduceTo('sumTo', dy, operand.shape);
}

/** Ends an operation of two operands that broadcast; a gradient that nobody wants is not computed. */
function recordPair(
  out: Tensor,
  a: Tensor,
  b: Tensor,
  dA: (dy: Tensor) => Tensor,
  dB: (dy: Tensor) => Tensor,
): Tensor {
  const [wantsA, wantsB] = [isTracked(a), isTracked(b)];
  return record(out, [a, b], (dy) => [
    wantsA ? unbroadcast(dA(dy), a) : null,
    wantsB ? unbroadcast(dB(dy), b) : null,
  ]);
}

/** a + b with broadcasting. @throws ShapeError */
export function add(a: Tensor, b: Tensor): Tensor {
  const same = (dy: Tensor) => dy;
  return recordPair(binary('add', a, b), a, b, same, same);
}

/** a - b with broadcasting. @throws ShapeError */
export function sub(a: Tensor, b: Tensor): Tensor {
  const [wantsA, wantsB] = [isTracked(a), isTracked(b)];
  return record(binary('sub', a, b), [a, b], (dy) => [
    wantsA ? unbroadcast(dy, a) : null,
    wantsB ? unary('neg', unbroadcast(dy, b)) : null,
  ]);
}

/** a * b with broadcasting. @throws ShapeError */
export function mul(a: Tensor, b: Tensor): Tensor {
  const times = (other: Tensor) => (dy: Tensor) => binary('mul', dy, other);
  return recordPair(binary('mul', a, b), a, b, times(b), times(a));
}

/** a / b with broadcasting. @throws ShapeError */
export function div(a: Tensor, b: Tensor): Tensor {
  const y = binary('div', a, b);
  return record(y, [a, b], (dy) => {
    const da = binary('div', dy, b);
    return [unbroadcast(da, a), unary('neg', unbroadcast(binary('mul', da, y), b))];
  });
}

/** The larger of a and b with broadcasting; equal ones share the gradient. @throws ShapeError */
export function maximum(a: Tensor, b: Tensor): Tensor {
  return record(binary('maximum', a, b), [a, b], (dy) => {
    // 1 where a wins, 1/2 at ties, 0 where b wins.
    const lead = binary('sub', binary('greater', a, b), binary('greater', b, a));
    return [
      unbroadcast(binary('mul', dy, scaled(lead, 0.5, 0.5)), a),
      unbroadcast(binary('mul', dy, scaled(lead, -0.5, 0.5)), b),
    ];
  });
}

/**
 * `a + (b - a) share`, share `[1]`: the mix of two operands of one shape, in one pass, and its
 * gradients in another.
 * @throws ShapeError when shapes differ, or share holds more than one element
 */
export function lerp(a: Tensor, b: Tensor, share: Tensor): Tensor {
  expectDType('lerp', 'f32', a, b, share);
  expectSameShape('lerp', a, b);
  if (share.numel !== 1) {
    throw new ShapeError(`lerp: share ${formatShape(share.shape)} must hold one element`);
  }
  const { kernels, nil } = commonBackend('lerp', a, b, share);
  const out = Tensor.empty(a.shape, 'f32', a.backend);
  kernels.lerp(out.handle, a.handle, b.handle, share.handle, out.numel);
  const [wantsA, wantsB] = [isTracked(a), isTracked(b)];
  return record(out, [a, b, share], (dy) => {
    const d = a.shape.at(-1) ?? 1;
    const rows = d === 0 ? 0 : a.numel / d;
    const made = (wanted: boolean) => (wanted ? Tensor.empty(a.shape, 'f32', a.backend) : null);
    const [dA, dB] = [made(wantsA), made(wantsB)];
    const perRow = Tensor.empty([rows], 'f32', a.backend);
    kernels.lerpGrad(
      ...[dA ? dA.handle : nil, dB ? dB.handle : nil, perRow.handle],
      ...[a.handle, b.handle, share.handle, dy.handle],
      ...([rows, d] as const),
    );
    return [dA, dB, reduceTo('lerp', perRow, [1]).aliasAs(share.shape)];
  });
}

/** -x. */
export function neg(x: Tensor): Tensor {
  return record(unary('neg', x), [x], (dy) => [unary('neg', dy)]);
}

/** |x|; gradient 0 at 0. */
export function abs(x: Tensor): Tensor {
  return record(unary('abs', x), [x], (dy) => {
    const zero = full([], 0, x.backend);
    const sign = binary('sub', binary('greater', x, zero), binary('greater', zero, x));
    return [binary('mul', dy, sign)];
  });
}

/** e^x. */
export function exp(x: Tensor): Tensor {
  const y = unary('exp', x);
  return record(y, [x], (dy) => [binary('mul', dy, y)]);
}

/** Natural logarithm. */
export function log(x: Tensor): Tensor {
  return record(unary('log', x), [x], (dy) => [binary('div', dy, x)]);
}

/** Square root. */
export function sqrt(x: Tensor): Tensor {
  const y = unary('sqrt', x);
  return record(y, [x], (dy) => [binary('div', scaled(dy, 0.5), y)]);
}

/** x^2. */
export function square(x: Tensor): Tensor {
  return record(unary('square', x), [x], (dy) => [binary('mul', scaled(dy, 2), x)]);
}

/** 1 / x. */
export function reciprocal(x: Tensor): Tensor {
  const y = unary('reciprocal', x);
  return record(y, [x], (dy) => [binary('mul', unary('neg', dy), unary('square', y))]);
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: Tensor): Tensor {
  const y = unary('sigmoid', x);
  return record(y, [x], (dy) => {
    const slope = binary('sub', y, unary('square', y));
    return [binary('mul', dy, slope)];
  });
}

/** Hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  const y = unary('tanh', x);
  return record(y, [x], (dy) => [binary('mul', dy, scaled(unary('square', y), -1, 1))]);
}

/** max(x, 0); gradient 0 at 0. */
export function relu(x: Tensor): Tensor {
  return record(unary('relu', x), [x], (dy) => {
    const positive = binary('greater', x, full([], 0, x.backend));
    return [binary('mul', dy, positive)];
  });
}

/** x * Phi(x), Phi the normal distribution function, erf form (Hendrycks & Gimpel 2016). */
export function gelu(x: Tensor): Tensor {
  return record(unary('gelu', x), [x], (dy) => {
    const dx = Tensor.empty(x.shape, 'f32', x.backend);
    x.backend.kernels.geluGrad(dx.handle, x.handle, dy.handle, x.numel);
    return [dx];
  });
}

/** x * sigmoid(x) (Elfwing et al. 2017, "swish"). */
export function silu(x: Tensor): Tensor {
  return record(unary('silu', x), [x], (dy) => {
    const dx = Tensor.empty(x.shape, 'f32', x.backend);
    x.backend.kernels.siluGrad(dx.handle, x.handle, dy.handle, x.numel);
    return [dx];
  });
}

/**
 * silu(gate) * up, shapes equal: the gated unit SwiGLU (Shazeer 2020, equation 6).
 * @throws ShapeError when the shapes differ
 */
export function siluMul(gate: Tensor, up: Tensor): Tensor {
  expectDType('siluMul', 'f32', gate, up);
  expectSameShape('siluMul', gate, up);
  const { kernels } = commonBackend('siluMul', gate, up);
  const out = Tensor.empty(gate.shape, 'f32', gate.backend);
  kernels.siluMul(out.handle, gate.handle, up.handle, out.numel);
  return record(out, [gate, up], (dy) => {
    const dGate = Tensor.empty(gate.shape, 'f32', gate.backend);
    const dSilu = binary('mul', dy, up);
    kernels.siluGrad(dGate.handle, gate.handle, dSilu.handle, out.numel);
    return [dGate, binary('mul', dy, unary('silu', gate))];
  });
}

/** x * scale + shift, both plain numbers. */
export function affine(x: Tensor, scale: number, shift = 0): Tensor {
  return record(scaled(x, scale, shift), [x], (dy) => [scaled(dy, scale)]);
}
