/**
 * Milliseconds since the Unix epoch on a clock that never goes back while the process lives:
 * `performance.timeOrigin + performance.now()`. Good for durations, and comparable between threads
 * and processes of one machine, which is what a trace of two processes needs.
 */
export function monotonicMs(): number {
  return performance.timeOrigin + performance.now();
}

/** Starts a stopwatch; the returned function tells the milliseconds since then. */
export function stopwatch(): () => number {
  const start = performance.now();
  return () => performance.now() - start;
}
