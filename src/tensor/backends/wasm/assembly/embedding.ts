// Rows of a table, out and back.
import { loadTail, storeTail } from './math';

export function gatherRows(out: usize, table: usize, ids: usize, n: i32, d: i32): void {
  const bytes = <usize>d << 2;
  for (let i = 0; i < n; i++, out += bytes) {
    memory.copy(out, table + <usize>load<i32>(ids + (<usize>i << 2)) * bytes, bytes);
  }
}

export function scatterAddRows(out: usize, dy: usize, ids: usize, n: i32, d: i32): void {
  const bytes = <usize>d << 2;
  const wide = <usize>(d & ~3) << 2;
  const rest = d & 3;
  for (let i = 0; i < n; i++, dy += bytes) {
    const row = out + <usize>load<i32>(ids + (<usize>i << 2)) * bytes;
    let j: usize = 0;
    for (; j < wide; j += 16) v128.store(row + j, f32x4.add(v128.load(row + j), v128.load(dy + j)));
    if (rest) storeTail(row + j, f32x4.add(loadTail(row + j, rest), loadTail(dy + j, rest)), rest);
  }
}
