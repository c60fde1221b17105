// Rotary position embedding, half-split layout.
import { loadTail, storeTail } from './math';

export function rope(
  out: usize, x: usize, cos: usize, sin: usize, positions: usize,
  rows: i32, heads: i32, headDim: i32, sign: f32,
): void {
  const halfDim = headDim >> 1;
  const half = <usize>halfDim << 2;
  const wide = <usize>(halfDim & ~3) << 2;
  const rest = halfDim & 3;
  const signs = f32x4.splat(sign);
  for (let row = 0; row < rows; row++) {
    const at = <usize>load<i32>(positions + (<usize>row << 2)) * half;
    for (let head = 0; head < heads; head++, x += half << 1, out += half << 1) {
      let i: usize = 0;
      for (; i < wide; i += 16) {
        const c = v128.load(cos + at + i);
        const s = f32x4.mul(v128.load(sin + at + i), signs);
        const a = v128.load(x + i);
        const b = v128.load(x + half + i);
        v128.store(out + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
        v128.store(out + half + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
      }
      if (rest) {
        const c = loadTail(cos + at + i, rest);
        const s = f32x4.mul(loadTail(sin + at + i, rest), signs);
        const a = loadTail(x + i, rest);
        const b = loadTail(x + half + i, rest);
        storeTail(out + i, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)), rest);
        storeTail(out + half + i, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)), rest);
      }
    }
  }
}
