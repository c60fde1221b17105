import { MOST_PARTS, type Split } from './thread-control.ts';

/**
 * A call below this is not shared: putting a job up and gathering it costs 2 to 4 microseconds with
 * threads that are awake, and one that sleeps comes about 50 late.
 */
const WORTH_NS = 20_000;

/** A part takes at least this: taking one costs half a microsecond. */
const PART_NS = 5_000;

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
export function splitOf(call: Divisible, threads: number): Split | undefined {
  const { count, total, unitNs, multiple = 1, steps } = call;
  if (total * unitNs < WORTH_NS) return undefined;
  const units = Math.max(
    total / (threads * PARTS_A_THREAD),
    PART_NS / unitNs,
    total / MOST_PARTS,
    1,
  );
  const grain = Math.ceil(units / multiple) * multiple;
  return total >= 2 * grain ? { count, total, grain, steps } : undefined;
}
