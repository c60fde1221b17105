import type { Kernels } from '../../../backend.ts';
import { type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';

/** Either half of a rotated pair; `sign` is -1 or 1. */
function rope(
  this: Thread<'heads' | 'half' | 'sign'>,
  x: Floats,
  cos: Floats,
  sin: Floats,
  positions: Floats,
): number {
  const pair = quotient(this.thread.x, this.constants.half);
  const j = this.thread.x - pair * this.constants.half;
  const head = quotient(pair, 2);
  const row = quotient(head, this.constants.heads);
  const angle = positions[row] * this.constants.half + j;
  const c = cos[angle];
  const s = sin[angle] * this.constants.sign;
  if (pair - head * 2 < 1) return x[this.thread.x] * c - x[this.thread.x + this.constants.half] * s;
  return x[this.thread.x] * c + x[this.thread.x - this.constants.half] * s;
}

/** Rotary position embedding, half-split layout (Su et al. 2021, equation 34). */
export function ropeKernels(launch: LaunchFunction) {
  return {
    rope(out, x, cos, sin, positions, rows, heads, headDim, sign) {
      const constants = { heads, half: headDim / 2, sign };
      const inputs = [x, cos, sin, positions];
      assign(launch, out, launch(rope, rows * heads * headDim, inputs, constants));
    },
  } satisfies Partial<Kernels>;
}
