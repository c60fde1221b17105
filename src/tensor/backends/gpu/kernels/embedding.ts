import type { Kernels } from '../../../backend.ts';
import { type Floats, quotient, type Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import { assign } from './assign.ts';

/** Rows that one launch adds: a thread looks at all of them, and kernels are to be short. */
const ROWS = 1024;

function gatherRows(this: Thread<'d'>, table: Floats, ids: Floats): number {
  const i = quotient(this.thread.x, this.constants.d);
  const j = this.thread.x - i * this.constants.d;
  return table[ids[i] * this.constants.d + j];
}

/**
 * A scatter turned round: each output element looks through all ids for its own row, because a
 * thread cannot add to what another one writes. Adds in the order of the rows, as cpu does.
 */
function scatterAddRows(
  this: Thread<'d' | 'first' | 'rows'>,
  before: Floats,
  dy: Floats,
  ids: Floats,
): number {
  const row = quotient(this.thread.x, this.constants.d);
  const j = this.thread.x - row * this.constants.d;
  let total = before[this.thread.x];
  for (let i = 0; i < this.constants.rows; i++) {
    if (ids[this.constants.first + i] === row) {
      // Rounded at once, which plain JavaScript would not.
      total = Math.fround(total + dy[(this.constants.first + i) * this.constants.d + j]);
    }
  }
  return total;
}

/** Rows of a table by their number, and the way back; ids are whole numbers in f32. */
export function embeddingKernels(launch: LaunchFunction) {
  return {
    gatherRows(out, table, ids, n, d) {
      assign(launch, out, launch(gatherRows, n * d, [table, ids], { d }));
    },
    scatterAddRows(out, dy, ids, n, d) {
      for (let first = 0; first < n; first += ROWS) {
        const constants = { d, first, rows: Math.min(ROWS, n - first) };
        assign(launch, out, launch(scatterAddRows, out.numel, [out, dy, ids], constants));
      }
    },
  } satisfies Partial<Kernels>;
}
