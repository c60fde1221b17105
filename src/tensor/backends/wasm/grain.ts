import { MOST_PARTS, type Split } from './thread-control.ts';

/** When a call is shared among threads, and how fine it is cut. */
export interface Sharing {
  /** Threads that compute. */
  readonly threads: number;
  /** Nanoseconds in one thread below which a call is not shared. */
  readonly worthNs: number;
  /** Nanoseconds that a part takes at the least. */
  readonly partNs: number;
}

/**
 * `auto`: putting a job up and gathering it costs a microsecond with threads that are awake (one that
 * sleeps comes about 50 late, and finds less to do), taking a part a quarter of one. `always` cuts
 * whatever can be cut: for tests.
 */
export const SHARING = {
  auto: { worthNs: 10_000, partNs: 3_000 },
  always: { worthNs: 0, partNs: 0 },
} as const;

/** Parts a thread, so that one that is slow, or came late, does not hold up the others for long. */
const PARTS_A_THREAD = 16;

/** What `splitOf` has to know of a call. */
export interface Divisible {
  /** Which argument counts units; -1: none. */
  readonly count: number;
  readonly total: number;
  /** What a unit takes in one thread, in nanoseconds, roughly. */
  readonly unitNs: number;
  /** Parts begin at multiples of so many units, and have at least as many. */
  readonly multiple?: number;
  readonly steps: readonly number[];
}

/** How a call is cut among threads, or undefined where it is not worth it. */
export function splitOf(call: Divisible, sharing: Sharing): Split | undefined {
  const { count, total, unitNs, multiple = 1, steps } = call;
  const { threads, worthNs, partNs } = sharing;
  if (!(total * unitNs > worthNs)) return undefined;
  const units = Math.max(
    total / (threads * PARTS_A_THREAD),
    partNs / unitNs,
    total / MOST_PARTS,
    1,
  );
  const grain = Math.ceil(units / multiple) * multiple;
  return total >= 2 * grain ? { count, total, grain, steps } : undefined;
}
