// A thin interface over benchmark.js: verify first, give it synchronous kernels only (it does not await),
// consume every result (what nobody reads is optimized away), and say what really ran.
import { cpus, loadavg } from 'node:os';
import Benchmark from 'benchmark';
import { type Arithmetic, bandwidthAt, peakOf } from './peak.ts';

/** One thing to measure. */
export interface BenchCase {
  /** `family/kernel/shape`: what `--filter` matches. */
  readonly name: string;
  /** What really runs, read back after loading: `gemmQd8F32Qc8w relaxed (i16 dot)`. */
  readonly variant: string;
  /** Operations of one run; a matmul counts 2MNK. 0 of what only moves memory. */
  readonly ops: number;
  /** Bytes of operands and results, each counted once. */
  readonly bytes: number;
  /** The multiply-accumulate it is made of, whose ceiling it is held against; null: of nothing such. */
  readonly arithmetic: Arithmetic | null;
  /** Takes long, or shows nothing new: runs by `--all` or when `--filter` names it. */
  readonly heavy?: boolean;
  /** Allocates operands, runs once and compares with the reference; throws when they differ. */
  prepare(): Prepared | Promise<Prepared>;
}

/** Operands in place. */
export interface Prepared {
  /**
   * One run; a number that depends on its result. Kernels are synchronous; what gives a promise, a
   * training step on a GPU or a second of plain loops, is timed by a few runs and not by benchmark.js,
   * which does not wait.
   */
  run(): number | Promise<number>;
  dispose(): void | Promise<void>;
}

/** What one `*.bench.ts` file exports as `cases`. */
export type BenchCases = () => Iterable<BenchCase>;

/** One line of the report. */
export interface BenchResult {
  readonly name: string;
  readonly variant: string;
  /** Mean of the samples, seconds a run. */
  readonly seconds: number;
  /** Fastest sample, seconds a run: least disturbed by whatever else the machine does. */
  readonly bestSeconds: number;
  /** Relative margin of error of the mean at 95%, percent; null under `--quick`. */
  readonly marginPercent: number | null;
  readonly samples: number;
  /** 10^9 operations a second from the mean and from the fastest sample; null of what counts none. */
  readonly gops: number | null;
  readonly bestGops: number | null;
  /** 10^9 bytes a second from the mean and from the fastest sample. */
  readonly gbs: number;
  readonly bestGbs: number;
  /** Operations a byte; null of what counts none. */
  readonly intensity: number | null;
  readonly arithmetic: Arithmetic | null;
  /** Fastest sample over the arithmetic's ceiling, 0..1; null where there is none. */
  readonly peakShare: number | null;
  /**
   * Fastest sample over what this machine can do at best: the ceiling, or reading the bytes from where
   * so many fit, whichever takes longer.
   */
  readonly roofShare: number;
}

/** Where the figures come from. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly runtime: string;
  /** Processes that wanted a core over the last minute; above `cores` figures mean little. */
  readonly load: number;
}

/** The machine and runtime that this process runs on. */
export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    runtime: `Node ${process.versions.node} (V8 ${process.versions.v8})`,
    load: Math.round(loadavg()[0] * 10) / 10,
  };
}

/** Seconds spent on one case by benchmark.js, and its least number of samples. */
const TIMING = { maxTime: 0.2, minSamples: 5 };

/** Runs of a case under `--quick`, which only shows that everything runs, and of one that is waited for. */
const QUICK_RUNS = 3;
const WAITED_RUNS = 5;

/** Checksums end here, where no optimizer sees that nobody looks. */
let consumed = 0;

/** Seconds of each sample, the mean, and its relative margin of error (percent). */
interface Timing {
  readonly sample: readonly number[];
  readonly mean: number;
  readonly rme: number;
}

/** Times so many runs, one by one. */
async function timeRuns(run: () => unknown, runs: number): Promise<Timing> {
  const sample: number[] = [];
  while (sample.length < runs) {
    const start = performance.now();
    await run();
    sample.push((performance.now() - start) / 1e3);
  }
  return { sample, mean: sample.reduce((a, b) => a + b) / runs, rme: Number.NaN };
}

function time(name: string, run: () => void): Timing {
  const benchmark = new Benchmark(name, { ...TIMING, fn: run });
  benchmark.run({ async: false });
  if (benchmark.error) throw benchmark.error;
  return benchmark.stats;
}

/**
 * Verifies and times one case.
 * @throws Error when the case disagrees with its reference, or gives no finite checksum
 */
export async function measure(one: BenchCase, quick: boolean): Promise<BenchResult> {
  const prepared = await one.prepare();
  try {
    const first = prepared.run();
    consumed += await first;
    const waited = first instanceof Promise;
    const run = waited
      ? async () => {
          consumed += await prepared.run();
        }
      : () => {
          consumed += prepared.run() as number;
        };
    const timing =
      quick || waited ? await timeRuns(run, quick ? QUICK_RUNS : WAITED_RUNS) : time(one.name, run);
    if (!Number.isFinite(consumed)) throw new Error(`${one.name}: checksum is not finite`);
    const best = timing.sample.reduce((a, b) => Math.min(a, b));
    return resultOf(one, timing, best);
  } finally {
    await prepared.dispose();
  }
}

/** Rates of a timing, and their shares of what the machine can do. */
function resultOf(one: BenchCase, { sample, mean, rme }: Timing, best: number): BenchResult {
  const { name, variant, ops, bytes, arithmetic } = one;
  const peakSeconds = arithmetic ? ops / peakOf(arithmetic) / 1e9 : 0;
  const readSeconds = bytes / bandwidthAt(bytes) / 1e9;
  return {
    name,
    variant,
    seconds: mean,
    bestSeconds: best,
    marginPercent: Number.isFinite(rme) ? rme : null,
    samples: sample.length,
    gops: ops ? ops / mean / 1e9 : null,
    bestGops: ops ? ops / best / 1e9 : null,
    gbs: bytes / mean / 1e9,
    bestGbs: bytes / best / 1e9,
    intensity: ops ? ops / bytes : null,
    arithmetic,
    peakShare: arithmetic ? peakSeconds / best : null,
    roofShare: Math.max(peakSeconds, readSeconds) / best,
  };
}

/** `97%`, or nothing. */
const percent = (share: number | null) => (share === null ? '' : `${Math.round(share * 100)}%`);

/** Titles of the columns of `formatResult`. */
export const RESULT_HEAD = [
  'case'.padEnd(46),
  'what ran'.padEnd(34),
  'mean'.padStart(10),
  '+-'.padStart(6),
  'GOP/s'.padStart(8),
  'GB/s'.padStart(7),
  'peak'.padStart(5),
  'roof'.padStart(5),
].join(' ');

/** A result as one line of text. */
export function formatResult(result: BenchResult): string {
  const { name, variant, seconds, marginPercent, gops, gbs, peakShare, roofShare } = result;
  const time =
    seconds >= 1e-3 ? `${(seconds * 1e3).toFixed(2)} ms` : `${(seconds * 1e6).toFixed(1)} us`;
  return [
    name.padEnd(46),
    variant.padEnd(34),
    time.padStart(10),
    (marginPercent === null ? '' : `${marginPercent.toFixed(1)}%`).padStart(6),
    (gops === null ? '' : gops.toFixed(1)).padStart(8),
    gbs.toFixed(1).padStart(7),
    percent(peakShare).padStart(5),
    percent(roofShare).padStart(5),
  ].join(' ');
}
