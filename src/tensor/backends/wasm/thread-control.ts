/*
 * What the threads of a backend share beside the memory they compute in: one block of words for
 * what they agree on, and the job itself as numbers. Kernels know nothing of it; all that orders
 * threads happens here, by JavaScript's Atomics.
 *
 * A job is one call of a kernel, cut into parts: part p works on units p * grain .. (p + 1) * grain,
 * the last one on all that are left. Its arguments are those of the call, each moved on by so much
 * a unit, with the number of its units in place of all of them. So a thread needs to know neither
 * shapes nor layouts, and any kernel whose operands lie evenly in memory can be cut.
 */

/** Words of the block, each on a cache line of its own where threads write to it while others wait. */
export const WORD = {
  /** Counts jobs; threads without work wait for it to change. */
  generation: 0,
  /**
   * Modules that the job needs, times 65,536, plus parts that nobody has taken. Both in one word, so
   * that a thread takes a part only of a job that it can run, and late ones find none: nobody has to
   * wait for a thread that has not woken up yet.
   */
  ticket: 16,
  /** Parts that are done. */
  done: 32,
  /** 1 once a kernel failed in a thread. */
  failed: 48,
  /** Messages sent to every thread: one that has taken fewer goes back to its event loop for them. */
  mail: 49,
  /** Parts that threads other than the caller have done so far, from 0 again behind 2^32. */
  helped: 50,
  /** The job: which kernel, how many arguments, which of them counts units, units, grain, parts. */
  kernel: 64,
  argumentCount: 65,
  countArgument: 66,
  grain: 68,
  parts: 69,
  /** Which argument is a scratch of which every thread has its own; -1 for none. */
  scratchArgument: 70,
} as const;

/** Numbers of the job: units in all, bytes of a thread's scratch, arguments, and their steps. */
const TOTAL = 0;
const SCRATCH_BYTES = 1;
const ARGUMENTS = 2;
const MOST_ARGUMENTS = 24;

const WORD_BYTES = 512;
const BLOCK_BYTES = WORD_BYTES + 8 * (ARGUMENTS + 2 * MOST_ARGUMENTS);

/** Most parts of a job: they share a word with the modules. */
export const MOST_PARTS = 0xffff;

/** A kernel as a thread calls it. */
export type Call = (...args: number[]) => void;

/** How a call is cut into parts. */
export interface Split {
  /** Which argument says how many units there are (rows, columns, elements); -1: none does. */
  readonly count: number;
  /** Units there are. */
  readonly total: number;
  /** Units of a part; the last part takes what is left, up to twice as many less one. */
  readonly grain: number;
  /** What a unit adds to each argument: bytes for those that are addresses, 0 for most others. */
  readonly steps: readonly number[];
  /** An argument that is scratch, of which each thread takes `bytes` of its own, one behind the other. */
  readonly scratch?: { readonly argument: number; readonly bytes: number };
}

/** One end's view of the block. */
export interface Control {
  readonly block: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly numbers: Float64Array;
}

/** The block that threads share; a fresh one unless it is given. */
export function controlOver(block = new SharedArrayBuffer(BLOCK_BYTES)): Control {
  return {
    block,
    words: new Int32Array(block, 0, WORD_BYTES / 4),
    numbers: new Float64Array(block, WORD_BYTES),
  };
}

/** Parts that a split comes to. */
export function partsOf({ total, grain }: Split): number {
  return Math.max(1, Math.floor(total / grain));
}

/** Puts a job up for all threads; the one before must be done. */
export function publish(
  { words, numbers }: Control,
  kernel: number,
  modules: number,
  args: readonly number[],
  split: Split,
): void {
  const parts = partsOf(split);
  words[WORD.kernel] = kernel;
  words[WORD.argumentCount] = args.length;
  words[WORD.countArgument] = split.count;
  words[WORD.grain] = split.grain;
  words[WORD.parts] = parts;
  words[WORD.scratchArgument] = split.scratch?.argument ?? -1;
  numbers[TOTAL] = split.total;
  numbers[SCRATCH_BYTES] = split.scratch?.bytes ?? 0;
  for (let i = 0; i < args.length; i++) {
    numbers[ARGUMENTS + i] = args[i];
    numbers[ARGUMENTS + MOST_ARGUMENTS + i] = split.steps[i] ?? 0;
  }
  Atomics.store(words, WORD.done, 0);
  // What stands above is seen by whoever takes a part, because atomics are in one order for all.
  Atomics.store(words, WORD.ticket, modules * 65536 + parts);
  Atomics.add(words, WORD.generation, 1);
  Atomics.notify(words, WORD.generation);
}

/**
 * Takes parts of the job that is up, one after the other, until none is left. Whoever holds a part
 * may read the job: it stays up until all parts are done.
 * @param calls kernels by number
 * @param thread which one this is, 0 for the caller
 * @returns what a kernel threw, if one did
 */
export function work(
  { words, numbers }: Control,
  calls: readonly Call[],
  modules: number,
  thread: number,
): unknown {
  let failure: unknown;
  for (;;) {
    const ticket = Atomics.load(words, WORD.ticket);
    const left = ticket & MOST_PARTS;
    if (left === 0 || ticket >>> 16 > modules) return failure;
    if (Atomics.compareExchange(words, WORD.ticket, ticket, ticket - 1) !== ticket) continue;
    const parts = words[WORD.parts];
    try {
      runPart(words, numbers, calls[words[WORD.kernel]], left - 1, parts, thread);
    } catch (error) {
      failure = error;
      Atomics.store(words, WORD.failed, 1);
    }
    if (thread > 0) Atomics.add(words, WORD.helped, 1);
    if (Atomics.add(words, WORD.done, 1) === parts - 1) Atomics.notify(words, WORD.done);
  }
}

function runPart(
  words: Int32Array,
  numbers: Float64Array,
  call: Call,
  part: number,
  parts: number,
  thread: number,
): void {
  const args: number[] = [];
  const grain = words[WORD.grain];
  const start = part * grain;
  const count = words[WORD.argumentCount];
  for (let i = 0; i < count; i++) {
    args.push(numbers[ARGUMENTS + i] + start * numbers[ARGUMENTS + MOST_ARGUMENTS + i]);
  }
  const counted = words[WORD.countArgument];
  if (counted >= 0) args[counted] = part === parts - 1 ? numbers[TOTAL] - start : grain;
  const scratch = words[WORD.scratchArgument];
  if (scratch >= 0) args[scratch] += thread * numbers[SCRATCH_BYTES];
  call(...args);
}

/**
 * How long a thread looks for its next job, or for the end of this one, before it sleeps. Between
 * two jobs of a forward pass lie 5 to 30 microseconds of JavaScript and small kernels, and waking a
 * sleeper takes about 50: so threads stay awake within a pass, and 50 microseconds after it sleep.
 */
const SPIN_MICROSECONDS = 50;

/** A hint to the core that this is a spin, where the engine has it. */
const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});

function look(words: Int32Array, word: number, value: number, times: number): boolean {
  for (let i = 0; i < times; i++) {
    if (Atomics.load(words, word) !== value) return true;
    pause();
  }
  return false;
}

/** How many looks take `SPIN_MICROSECONDS` here: the fastest of a few tries, others were interrupted. */
function looksOf(words: Int32Array): number {
  const TIMES = 500;
  let best = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 5; tries++) {
    const startMs = performance.now();
    look(words, WORD.failed, Atomics.load(words, WORD.failed), TIMES);
    best = Math.min(best, performance.now() - startMs);
  }
  // A clock that is too coarse to see it (browsers without isolation have one) gives 0.
  return Math.ceil((TIMES * SPIN_MICROSECONDS) / 1000 / Math.max(best, 0.005));
}

/** Waits for a word to change: a short while awake, then asleep. */
export class Waiter {
  private readonly words: Int32Array;
  private readonly looks: number;

  constructor({ words }: Control) {
    this.words = words;
    this.looks = looksOf(words);
  }

  /** @returns false where the word is the same after `patienceMs` */
  changed(word: number, value: number, patienceMs?: number): boolean {
    if (look(this.words, word, value, this.looks)) return true;
    return Atomics.wait(this.words, word, value, patienceMs) !== 'timed-out';
  }
}

/** Whether this thread may sleep: the main thread of a page may not. */
export function mayWait(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}
