import type { Kernels } from '../../../backend.ts';
import type { Floats, Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';
import { sumRows } from './norm.ts';

function mixed(this: Thread, a: Floats, b: Floats, share: Floats): number {
  return a[this.thread.x] + (b[this.thread.x] - a[this.thread.x]) * share[0];
}

function byRest(this: Thread, dy: Floats, share: Floats): number {
  return dy[this.thread.x] * (1.0 - share[0]);
}

function byShare(this: Thread, dy: Floats, share: Floats): number {
  return dy[this.thread.x] * share[0];
}

/** What an element adds to the share's gradient. */
function shareTerm(this: Thread, a: Floats, b: Floats, dy: Floats): number {
  return dy[this.thread.x] * (b[this.thread.x] - a[this.thread.x]);
}

/** Mixes by a share, with their gradients. */
export function lerpKernels(launch: LaunchFunction) {
  return {
    lerp: (out, a, b, share, n) => assign(launch, out, launch(mixed, n, [a, b, share])),
    lerpGrad(dA, dB, dShareRows, a, b, share, dy, rows, d) {
      if (rows * d === 0) return;
      if (dA) assign(launch, dA, launch(byRest, rows * d, [dy, share]));
      if (dB) assign(launch, dB, launch(byShare, rows * d, [dy, share]));
      assign(launch, dShareRows, sumRows(launch, shareTerm, [a, b, dy], rows, d, {}));
    },
  } satisfies Partial<Kernels>;
}
