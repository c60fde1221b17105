// AdamW, one pass over parameter, moments and gradient.
import { loadTail, storeTail } from './math';

export function adamw(
  outP: usize, outM: usize, outV: usize, p: usize, m: usize, v: usize, g: usize, gradScale: usize,
  n: i32, lr: f32, beta1: f64, beta2: f64, eps: f32, weightDecay: f32,
  biasCorrection1: f32, biasCorrection2: f32,
): void {
  const scale = v128.load32_splat(gradScale);
  const b1 = f32x4.splat(<f32>beta1);
  const b2 = f32x4.splat(<f32>beta2);
  // 1 - 0.999 in f32 would be off by 5e-5.
  const c1 = f32x4.splat(<f32>(1 - beta1));
  const c2 = f32x4.splat(<f32>(1 - beta2));
  const bias1 = f32x4.splat(biasCorrection1);
  const bias2 = f32x4.splat(biasCorrection2);
  const rate = f32x4.splat(lr);
  const small = f32x4.splat(eps);
  const decay = f32x4.splat(weightDecay);
  for (let left = n; left > 0; left -= 4) {
    const whole = left >= 4;
    const grad = f32x4.mul(whole ? v128.load(g) : loadTail(g, left), scale);
    const param = whole ? v128.load(p) : loadTail(p, left);
    const mean = f32x4.add(
      f32x4.mul(b1, whole ? v128.load(m) : loadTail(m, left)),
      f32x4.mul(c1, grad),
    );
    const square = f32x4.add(
      f32x4.mul(b2, whole ? v128.load(v) : loadTail(v, left)),
      f32x4.mul(c2, f32x4.mul(grad, grad)),
    );
    const step = f32x4.div(
      f32x4.div(mean, bias1),
      f32x4.add(f32x4.sqrt(f32x4.div(square, bias2)), small),
    );
    const next = f32x4.sub(param, f32x4.mul(rate, f32x4.add(step, f32x4.mul(decay, param))));
    if (whole) {
      v128.store(outP, next);
      v128.store(outM, mean);
      v128.store(outV, square);
    } else {
      storeTail(outP, next, left);
      storeTail(outM, mean, left);
      storeTail(outV, square, left);
    }
    g += 16; p += 16; m += 16; v += 16;
    outP += 16; outM += 16; outV += 16;
  }
}
