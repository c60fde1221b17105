// Elementwise kernels of one operand. A class names a function, so that one driver serves all:
// the compiler inlines `at`, no object is ever made.
import { bell4, exp4, loadTail, log4, madd, normalCdf4, sigmoid4, storeTail, tanh4 } from './math';

class Neg { at(x: v128): v128 { return f32x4.neg(x); } }
class Abs { at(x: v128): v128 { return f32x4.abs(x); } }
class Exp { at(x: v128): v128 { return exp4(x); } }
class Log { at(x: v128): v128 { return log4(x); } }
class Sqrt { at(x: v128): v128 { return f32x4.sqrt(x); } }
class Square { at(x: v128): v128 { return f32x4.mul(x, x); } }
class Reciprocal { at(x: v128): v128 { return f32x4.div(f32x4.splat(1.0), x); } }
class Sigmoid { at(x: v128): v128 { return sigmoid4(x); } }
class Tanh { at(x: v128): v128 { return tanh4(x); } }
class Relu { at(x: v128): v128 { return f32x4.max(x, f32x4.splat(0)); } }
class Gelu { at(x: v128): v128 { return f32x4.mul(x, normalCdf4(x, bell4(x))); } }
class Silu { at(x: v128): v128 { return f32x4.mul(x, sigmoid4(x)); } }

function unary<F>(out: usize, x: usize, n: i32): void {
  const end = x + (<usize>(n & ~3) << 2);
  for (; x < end; x += 16, out += 16) v128.store(out, changetype<F>(0).at(v128.load(x)));
  const rest = n & 3;
  if (rest) storeTail(out, changetype<F>(0).at(loadTail(x, rest)), rest);
}

export function neg(out: usize, x: usize, n: i32): void { unary<Neg>(out, x, n); }
export function abs(out: usize, x: usize, n: i32): void { unary<Abs>(out, x, n); }
export function exp(out: usize, x: usize, n: i32): void { unary<Exp>(out, x, n); }
export function log(out: usize, x: usize, n: i32): void { unary<Log>(out, x, n); }
export function sqrt(out: usize, x: usize, n: i32): void { unary<Sqrt>(out, x, n); }
export function square(out: usize, x: usize, n: i32): void { unary<Square>(out, x, n); }
export function reciprocal(out: usize, x: usize, n: i32): void { unary<Reciprocal>(out, x, n); }
export function sigmoid(out: usize, x: usize, n: i32): void { unary<Sigmoid>(out, x, n); }
export function tanh(out: usize, x: usize, n: i32): void { unary<Tanh>(out, x, n); }
export function relu(out: usize, x: usize, n: i32): void { unary<Relu>(out, x, n); }
export function gelu(out: usize, x: usize, n: i32): void { unary<Gelu>(out, x, n); }
export function silu(out: usize, x: usize, n: i32): void { unary<Silu>(out, x, n); }

/** dy (Phi(x) + x phi(x)), phi the density. */
class GeluGrad {
  at(x: v128, dy: v128): v128 {
    const bell = bell4(x);
    const density = f32x4.mul(bell, f32x4.splat(0.3989422804));
    return f32x4.mul(dy, madd(x, density, normalCdf4(x, bell)));
  }
}

/** dy s (1 + x (1 - s)), s = sigmoid(x). */
class SiluGrad {
  at(x: v128, dy: v128): v128 {
    const one = f32x4.splat(1.0);
    const s = sigmoid4(x);
    return f32x4.mul(dy, f32x4.mul(s, madd(x, f32x4.sub(one, s), one)));
  }
}

class SiluMul { at(gate: v128, up: v128): v128 { return f32x4.mul(f32x4.mul(gate, sigmoid4(gate)), up); } }

function pairwise<F>(out: usize, a: usize, b: usize, n: i32): void {
  const end = a + (<usize>(n & ~3) << 2);
  for (; a < end; a += 16, b += 16, out += 16) {
    v128.store(out, changetype<F>(0).at(v128.load(a), v128.load(b)));
  }
  const rest = n & 3;
  if (rest) storeTail(out, changetype<F>(0).at(loadTail(a, rest), loadTail(b, rest)), rest);
}

export function geluGrad(dx: usize, x: usize, dy: usize, n: i32): void { pairwise<GeluGrad>(dx, x, dy, n); }
export function siluGrad(dx: usize, x: usize, dy: usize, n: i32): void { pairwise<SiluGrad>(dx, x, dy, n); }
export function siluMul(out: usize, gate: usize, up: usize, n: i32): void { pairwise<SiluMul>(out, gate, up, n); }

export function affine(out: usize, x: usize, n: i32, scale: f32, shift: f32): void {
  const scales = f32x4.splat(scale);
  const shifts = f32x4.splat(shift);
  const end = x + (<usize>(n & ~3) << 2);
  for (; x < end; x += 16, out += 16) v128.store(out, madd(v128.load(x), scales, shifts));
  const rest = n & 3;
  if (rest) storeTail(out, madd(loadTail(x, rest), scales, shifts), rest);
}

export function fill(out: usize, n: i32, value: f32): void {
  const values = f32x4.splat(value);
  const end = out + (<usize>(n & ~3) << 2);
  for (; out < end; out += 16) v128.store(out, values);
  const rest = n & 3;
  if (rest) storeTail(out, values, rest);
}
