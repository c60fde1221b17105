// A mix of two operands by a share that is trained, and all its gradients in one pass.
import { loadTail, madd, storeTail, sumLanes } from './math';

export function lerp(out: usize, a: usize, b: usize, share: usize, n: i32): void {
  const g = v128.load32_splat(share);
  const end = a + (<usize>(n & ~3) << 2);
  for (; a < end; a += 16, b += 16, out += 16) {
    const x = v128.load(a);
    v128.store(out, madd(f32x4.sub(v128.load(b), x), g, x));
  }
  const rest = n & 3;
  if (rest) {
    const x = loadTail(a, rest);
    storeTail(out, madd(f32x4.sub(loadTail(b, rest), x), g, x), rest);
  }
}

export function lerpGrad(
  dA: usize, dB: usize, dShareRows: usize, a: usize, b: usize, share: usize, dy: usize,
  rows: i32, d: i32,
): void {
  const g = v128.load32_splat(share);
  const h = f32x4.sub(f32x4.splat(1.0), g);
  const rest = d & 3;
  const last = <usize>rest << 2;
  for (let row = 0; row < rows; row++, dShareRows += 4) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let i = 0;
    for (; i + 8 <= d; i += 8, a += 32, b += 32, dy += 32) {
      const y0 = v128.load(dy);
      const y1 = v128.load(dy, 16);
      s0 = madd(y0, f32x4.sub(v128.load(b), v128.load(a)), s0);
      s1 = madd(y1, f32x4.sub(v128.load(b, 16), v128.load(a, 16)), s1);
      if (dA) {
        v128.store(dA, f32x4.mul(y0, h));
        v128.store(dA, f32x4.mul(y1, h), 16);
        dA += 32;
      }
      if (dB) {
        v128.store(dB, f32x4.mul(y0, g));
        v128.store(dB, f32x4.mul(y1, g), 16);
        dB += 32;
      }
    }
    if (i + 4 <= d) {
      const y = v128.load(dy);
      s0 = madd(y, f32x4.sub(v128.load(b), v128.load(a)), s0);
      if (dA) {
        v128.store(dA, f32x4.mul(y, h));
        dA += 16;
      }
      if (dB) {
        v128.store(dB, f32x4.mul(y, g));
        dB += 16;
      }
      a += 16;
      b += 16;
      dy += 16;
    }
    if (rest) {
      const y = loadTail(dy, rest);
      s1 = madd(y, f32x4.sub(loadTail(b, rest), loadTail(a, rest)), s1);
      if (dA) {
        storeTail(dA, f32x4.mul(y, h), rest);
        dA += last;
      }
      if (dB) {
        storeTail(dB, f32x4.mul(y, g), rest);
        dB += last;
      }
      a += last;
      b += last;
      dy += last;
    }
    store<f32>(dShareRows, sumLanes(f32x4.add(s0, s1)));
  }
}
