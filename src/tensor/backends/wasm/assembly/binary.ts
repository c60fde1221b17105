// Elementwise kernels of two operands, broadcast by strides.

class Add { at(a: v128, b: v128): v128 { return f32x4.add(a, b); } }
class Sub { at(a: v128, b: v128): v128 { return f32x4.sub(a, b); } }
class Mul { at(a: v128, b: v128): v128 { return f32x4.mul(a, b); } }
class Div { at(a: v128, b: v128): v128 { return f32x4.div(a, b); } }
class Maximum { at(a: v128, b: v128): v128 { return f32x4.max(a, b); } }
class Greater { at(a: v128, b: v128): v128 { return v128.and(f32x4.gt(a, b), f32x4.splat(1.0)); } }

/** One row; strides in bytes. Strides other than 4 and 0 go one element at a time. */
function row<F>(out: usize, a: usize, b: usize, n: i32, sa: usize, sb: usize): void {
  const end = out + (<usize>n << 2);
  const wide = out + (<usize>(n & ~3) << 2);
  if (sa == 4 && sb == 4) {
    for (; out < wide; out += 16, a += 16, b += 16) {
      v128.store(out, changetype<F>(0).at(v128.load(a), v128.load(b)));
    }
  } else if (sa == 4 && sb == 0) {
    const same = v128.load32_splat(b);
    for (; out < wide; out += 16, a += 16) {
      v128.store(out, changetype<F>(0).at(v128.load(a), same));
    }
  } else if (sa == 0 && sb == 4) {
    const same = v128.load32_splat(a);
    for (; out < wide; out += 16, b += 16) {
      v128.store(out, changetype<F>(0).at(same, v128.load(b)));
    }
  }
  for (; out < end; out += 4, a += sa, b += sb) {
    const one = changetype<F>(0).at(v128.load32_splat(a), v128.load32_splat(b));
    v128.store_lane<f32>(out, one, 0);
  }
}

/** Merges inner axes that lie one behind the other in both operands, then goes row by row. */
function binary<F>(
  out: usize, a: usize, b: usize,
  d0: i32, d1: i32, d2: i32, d3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
): void {
  for (let merges = 0; merges < 3; merges++) {
    if (d3 == 1) {
      d3 = d2;
      a3 = a2;
      b3 = b2;
    } else if (d2 == 1 || (a2 == d3 * a3 && b2 == d3 * b3)) {
      d3 *= d2;
    } else break;
    d2 = d1; a2 = a1; b2 = b1;
    d1 = d0; a1 = a0; b1 = b0;
    d0 = 1; a0 = 0; b0 = 0;
  }
  const rowBytes = <usize>d3 << 2;
  for (let i0 = 0; i0 < d0; i0++) {
    for (let i1 = 0; i1 < d1; i1++) {
      let pa = a + (<usize>(i0 * a0 + i1 * a1) << 2);
      let pb = b + (<usize>(i0 * b0 + i1 * b1) << 2);
      for (let i2 = 0; i2 < d2; i2++) {
        row<F>(out, pa, pb, d3, <usize>a3 << 2, <usize>b3 << 2);
        out += rowBytes;
        pa += <usize>a2 << 2;
        pb += <usize>b2 << 2;
      }
    }
  }
}

export function add(
  out: usize, a: usize, b: usize,
  d0: i32, d1: i32, d2: i32, d3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
): void {
  binary<Add>(out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3);
}

export function sub(
  out: usize, a: usize, b: usize,
  d0: i32, d1: i32, d2: i32, d3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
): void {
  binary<Sub>(out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3);
}

export function mul(
  out: usize, a: usize, b: usize,
  d0: i32, d1: i32, d2: i32, d3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
): void {
  binary<Mul>(out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3);
}

export function div(
  out: usize, a: usize, b: usize,
  d0: i32, d1: i32, d2: i32, d3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
): void {
  binary<Div>(out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3);
}

export function maximum(
  out: usize, a: usize, b: usize,
  d0: i32, d1: i32, d2: i32, d3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
): void {
  binary<Maximum>(out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3);
}

export function greater(
  out: usize, a: usize, b: usize,
  d0: i32, d1: i32, d2: i32, d3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
): void {
  binary<Greater>(out, a, b, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3);
}
