import type { Floats, Thread } from '../device-function.ts';
import type { LaunchFunction } from '../runtime.ts';
import type { Piece, Value } from '../value.ts';

/** The first `n` elements of one value, the rest of another. */
function splice(this: Thread<'n'>, head: Floats, behind: Floats): number {
  if (this.thread.x < this.constants.n) return head[this.thread.x];
  return behind[this.thread.x];
}

/** Makes a value what a piece holds; a shorter one replaces the piece's first elements. */
export function assign(launch: LaunchFunction, out: Piece, value: Value): void {
  const n = value.numel;
  if (n === out.numel) {
    out.assign(value);
    return;
  }
  if (n > 0) out.assign(launch(splice, out.numel, [value, out], { n }));
  value.release();
}
