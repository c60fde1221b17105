// Timing of several contenders in turns. On a machine that does other things too, speeds drift from
// second to second; what is measured in turns drifts together, so that ratios hold where times do not.

/** One of several ways to do the same work. */
export interface Contender {
  readonly name: string;
  /** One run, synchronous or not; its result must have been used by the time it is over. */
  run(): unknown;
}

/** Seconds a run of one contender, a sample a round. */
export interface Turns {
  readonly name: string;
  readonly samples: readonly number[];
  readonly median: number;
}

/** How long everything takes. */
export interface InterleaveOptions {
  /** Samples of each contender. */
  readonly rounds: number;
  /** A sample repeats its run until it has taken this long, in seconds. */
  readonly sampleSeconds: number;
}

/** The middle value, or the mean of the two; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Seconds of `count` runs; waits only for what is a promise. */
async function timed({ run }: Contender, count: number): Promise<number> {
  const start = process.cpuUsage();
  for (let i = 0; i < count; i++) {
    const result = run();
    if (result instanceof Promise) await result;
  }
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

/** Runs after which code is compiled, before anything is timed. */
const WARM_RUNS = 3;

/**
 * Samples of every contender, a round after the other; each second round goes backwards, so that none
 * always follows the same one.
 */
export async function interleave(
  contenders: readonly Contender[],
  { rounds, sampleSeconds }: InterleaveOptions,
): Promise<Turns[]> {
  const counts: number[] = [];
  for (const one of contenders) {
    await timed(one, WARM_RUNS - 1);
    const seconds = await timed(one, 1);
    counts.push(Math.max(1, Math.ceil(sampleSeconds / Math.max(seconds, 1e-7))));
  }
  const samples: number[][] = contenders.map(() => []);
  for (let round = 0; round < rounds; round++) {
    const order = contenders.map((_, i) => (round % 2 ? contenders.length - 1 - i : i));
    for (const i of order) samples[i].push((await timed(contenders[i], counts[i])) / counts[i]);
  }
  return contenders.map(({ name }, i) => ({
    name,
    samples: samples[i],
    median: median(samples[i]),
  }));
}

/** A ratio over the rounds: the median, and the quartiles that show how steady it was. */
export interface Ratio {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** How many times as long `slow` took as `fast`, round by round. */
export function ratioOf(slow: Turns, fast: Turns): Ratio {
  const ratios = slow.samples.map((seconds, i) => seconds / fast.samples[i]);
  const sorted = ratios.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.round(part * (sorted.length - 1))];
  return { median: median(ratios), low: at(0.25), high: at(0.75) };
}
