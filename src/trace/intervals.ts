/** A stretch of time `[start, end]`, any one unit; empty when `end <= start`. */
export type Interval = readonly [start: number, end: number];

/** The time covered by any of `intervals`, as disjoint intervals in order; touching ones join. */
export function union(intervals: Iterable<Interval>): Interval[] {
  const sorted = [...intervals].filter(([start, end]) => end > start).sort((a, b) => a[0] - b[0]);
  const out: [number, number][] = [];
  for (const [start, end] of sorted) {
    const last = out.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else out.push([start, end]);
  }
  return out;
}

/** The time covered by both `a` and `b`, as disjoint intervals in order. */
export function intersection(a: Iterable<Interval>, b: Iterable<Interval>): Interval[] {
  const lhs = union(a);
  const rhs = union(b);
  const out: Interval[] = [];
  for (let i = 0, j = 0; i < lhs.length && j < rhs.length; ) {
    const start = Math.max(lhs[i][0], rhs[j][0]);
    const end = Math.min(lhs[i][1], rhs[j][1]);
    if (end > start) out.push([start, end]);
    // What ends first can meet nothing later on the other side.
    if (lhs[i][1] < rhs[j][1]) i++;
    else j++;
  }
  return out;
}

/** Length of the time covered by any of `intervals`; what overlaps counts once. */
export function covered(intervals: Iterable<Interval>): number {
  return union(intervals).reduce((sum, [start, end]) => sum + (end - start), 0);
}

/** Length of the time covered by both `a` and `b`. */
export function overlap(a: Iterable<Interval>, b: Iterable<Interval>): number {
  return covered(intersection(a, b));
}

/**
 * Share, 0 to 1, of the time covered by `work` that lies inside the time covered by `cover`: how
 * much of a server's busy time a busy device hides. 0 when there is no work.
 */
export function hiddenShare(work: Iterable<Interval>, cover: Iterable<Interval>): number {
  const busy = union(work);
  const total = covered(busy);
  return total > 0 ? overlap(busy, cover) / total : 0;
}
