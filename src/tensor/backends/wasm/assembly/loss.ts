// Cross-entropy from log-probabilities; target -100 means: not counted.
import { exp4, loadTail, storeTail } from './math';

const IGNORED: i32 = -100;

export function nllLoss(
  lossRows: usize, logProbs: usize, targets: usize, rows: i32, classes: i32,
): void {
  for (let row = 0; row < rows; row++, logProbs += <usize>classes << 2) {
    const target = load<i32>(targets + (<usize>row << 2));
    const value = target == IGNORED ? <f32>0 : -load<f32>(logProbs + (<usize>target << 2));
    store<f32>(lossRows + (<usize>row << 2), value);
  }
}

export function crossEntropyGrad(
  dLogits: usize, logProbs: usize, targets: usize, dLossRows: usize, rows: i32, classes: i32,
): void {
  const bytes = <usize>classes << 2;
  const wide = <usize>(classes & ~3) << 2;
  const rest = classes & 3;
  for (let row = 0; row < rows; row++, logProbs += bytes, dLogits += bytes) {
    const target = load<i32>(targets + (<usize>row << 2));
    const dLoss = load<f32>(dLossRows + (<usize>row << 2));
    // Exactly zero, whatever the logits: 0 * NaN would not be.
    if (target == IGNORED || dLoss == 0) {
      memory.fill(dLogits, 0, bytes);
      continue;
    }
    const scale = f32x4.splat(dLoss);
    // (p - 1) dLoss has to be taken at once: p dLoss - dLoss would round twice.
    const p = f32x4.extract_lane(exp4(v128.load32_splat(logProbs + (<usize>target << 2))), 0);
    let i: usize = 0;
    for (; i < wide; i += 16) {
      v128.store(dLogits + i, f32x4.mul(exp4(v128.load(logProbs + i)), scale));
    }
    if (rest) storeTail(dLogits + i, f32x4.mul(exp4(loadTail(logProbs + i, rest)), scale), rest);
    store<f32>(dLogits + (<usize>target << 2), (p - 1) * dLoss);
  }
}
