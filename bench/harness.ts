// A thin interface over benchmark.js: verify first, time synchronous kernels only (it does not await),
// consume every result (what nobody reads is optimized away), and say what really ran.
import { cpus, loadavg } from 'node:os';
import Benchmark from 'benchmark';

/** 10^9 a second: f32 operations, integer operations, bytes of operands and results. */
export type BenchUnit = 'GFLOP/s' | 'GOP/s' | 'GB/s';

/** One thing to measure. */
export interface BenchCase {
  /** `family/kernel/shape`: what `--filter` matches. */
  readonly name: string;
  /** What really runs, read back after loading: `gemmQd8F32Qc8w relaxed (i16 dot)`. */
  readonly variant: string;
  /** Operations of one run (a matmul counts 2MNK), or bytes that it reads and writes, as the unit says. */
  readonly work: number;
  /** Of what counts for this kernel: arithmetic where it computes, bytes where it moves memory. */
  readonly unit: BenchUnit;
  /** Takes long to prepare and shows nothing new: left out of `--quick`. */
  readonly heavy?: boolean;
  /** Allocates operands, runs once and compares with the reference; throws when they differ. */
  prepare(): Prepared;
}

/** Operands in place. */
export interface Prepared {
  /** One synchronous run; a number that depends on its result. */
  run(): number;
  dispose(): void;
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
  readonly unit: BenchUnit;
  /** In `unit`, from the mean and from the fastest sample. */
  readonly rate: number;
  readonly bestRate: number;
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
const TIMING = { maxTime: 0.5, minSamples: 10 };

/** Runs of a case under `--quick`, which only shows that everything runs. */
const QUICK_RUNS = 3;

/** Checksums end here, where no optimizer sees that nobody looks. */
let consumed = 0;

/** Seconds of each sample, the mean, and its relative margin of error (percent). */
interface Timing {
  readonly sample: readonly number[];
  readonly mean: number;
  readonly rme: number;
}

function timeQuickly(run: () => void): Timing {
  const sample = Array.from({ length: QUICK_RUNS }, () => {
    const start = performance.now();
    run();
    return (performance.now() - start) / 1e3;
  });
  return { sample, mean: sample.reduce((a, b) => a + b) / QUICK_RUNS, rme: Number.NaN };
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
export function measure(one: BenchCase, quick: boolean): BenchResult {
  const prepared = one.prepare();
  try {
    const run = () => {
      consumed += prepared.run();
    };
    const { sample, mean, rme } = quick ? timeQuickly(run) : time(one.name, run);
    if (!Number.isFinite(consumed)) throw new Error(`${one.name}: checksum is not finite`);
    const best = sample.reduce((a, b) => Math.min(a, b));
    return {
      name: one.name,
      variant: one.variant,
      seconds: mean,
      bestSeconds: best,
      marginPercent: Number.isFinite(rme) ? rme : null,
      samples: sample.length,
      unit: one.unit,
      rate: one.work / mean / 1e9,
      bestRate: one.work / best / 1e9,
    };
  } finally {
    prepared.dispose();
  }
}

/** A result as one line of text. */
export function formatResult(result: BenchResult): string {
  const seconds =
    result.seconds >= 1e-3
      ? `${(result.seconds * 1e3).toFixed(2)} ms`
      : `${(result.seconds * 1e6).toFixed(1)} us`;
  return [
    result.name.padEnd(44),
    result.variant.padEnd(36),
    seconds.padStart(11),
    (result.marginPercent === null ? '' : `+-${result.marginPercent.toFixed(1)}%`).padStart(8),
    `${result.rate.toFixed(2)} ${result.unit}`.padStart(16),
    `best ${result.bestRate.toFixed(2)}`.padStart(12),
  ].join(' ');
}
