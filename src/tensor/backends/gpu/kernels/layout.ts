import type { Dims4, Kernels } from '../../../backend.ts';
import { BackendError } from '../../../errors.ts';
import { type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';

type Lengths = 'l0' | 'l1' | 'l2' | 'l3';
type OutStrides = 'o0' | 'o1' | 'o2' | 'o3';
type XStrides = 'x0' | 'x1' | 'x2' | 'x3';

/**
 * A strided copy turned round, for a thread cannot choose where it writes: finds the axes' indices
 * from the place in the output, axes sorted by their output strides, and keeps what lay there
 * where no index fits.
 */
function copyStrided(
  this: Thread<Lengths | OutStrides | XStrides | 'outOffset' | 'xOffset'>,
  x: Floats,
  before: Floats,
): number {
  const at = this.thread.x - this.constants.outOffset;
  if (at < 0) return before[this.thread.x];
  const i0 = quotient(at, this.constants.o0);
  const rest0 = at - i0 * this.constants.o0;
  const i1 = quotient(rest0, this.constants.o1);
  const rest1 = rest0 - i1 * this.constants.o1;
  const i2 = quotient(rest1, this.constants.o2);
  const rest2 = rest1 - i2 * this.constants.o2;
  const i3 = quotient(rest2, this.constants.o3);
  if (
    i0 >= this.constants.l0 ||
    i1 >= this.constants.l1 ||
    i2 >= this.constants.l2 ||
    i3 >= this.constants.l3 ||
    rest2 - i3 * this.constants.o3 > 0
  ) {
    return before[this.thread.x];
  }
  const from =
    this.constants.xOffset +
    i0 * this.constants.x0 +
    i1 * this.constants.x1 +
    i2 * this.constants.x2 +
    i3 * this.constants.x3;
  return x[from];
}

interface Axis {
  readonly length: number;
  readonly out: number;
  readonly x: number;
}

/**
 * Axes by descending output stride; those of length 1 count for nothing and get the stride of
 * their neighbour.
 * @throws BackendError when two indices could write one place
 */
function sortedAxes(dims: Dims4, outStrides: Dims4, xStrides: Dims4): readonly Axis[] {
  const axes = dims
    .map((length, i) => ({ length, out: outStrides[i], x: xStrides[i] }))
    .filter(({ length }) => length > 1)
    .sort((a, b) => a.out - b.out);
  let span = 1;
  for (const { length, out } of axes) {
    if (out < span) {
      throw new BackendError(
        `copy: output strides ${outStrides} of lengths ${dims} overlap, which gpu cannot turn round`,
      );
    }
    span += out * (length - 1);
  }
  while (axes.length < 4) axes.unshift({ length: 1, out: 1, x: 0 });
  return axes.reverse();
}

/** The strided copy; every dtype is kept in f32 here, so that one kernel does. */
export function layoutKernels(launch: LaunchFunction) {
  return {
    copy(out, outOffset, x, xOffset, d0, d1, d2, d3, o0, o1, o2, o3, x0, x1, x2, x3) {
      if (d0 * d1 * d2 * d3 === 0) return;
      const axes = sortedAxes([d0, d1, d2, d3], [o0, o1, o2, o3], [x0, x1, x2, x3]);
      const constants: Record<string, number> = { outOffset, xOffset };
      axes.forEach((axis, i) => {
        constants[`l${i}`] = axis.length;
        constants[`o${i}`] = axis.out;
        constants[`x${i}`] = axis.x;
      });
      assign(launch, out, launch(copyStrided, out.numel, [x, out.value ?? null], constants));
    },
  } satisfies Partial<Kernels>;
}
