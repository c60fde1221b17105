import type { BenchCheck, BenchRun, BenchTest } from './bench-engine.ts';
import type { DeviceInfo } from './device-thread.ts';
import { type MemoryKinds, renderKinds } from './memory-kinds.ts';
import { formatBytes } from './progress.ts';

/** How results are written: a table for people, or records. */
export type BenchFormat = 'md' | 'json' | 'csv';

/** A test and its repetitions so far. */
export interface BenchResult {
  readonly test: BenchTest;
  /** That computed, and the backend that they are of. */
  readonly threads: number;
  readonly backend: string;
  /** When its first repetition began, ISO 8601. */
  readonly startedAt: string;
  /** At least one. */
  readonly runs: readonly BenchRun[];
}

/** What the report says of the model. */
export type BenchedModel = Pick<
  DeviceInfo,
  'architecture' | 'parameters' | 'precision' | 'weightBytes' | 'kernels'
>;

/** What was measured, and on what. */
export interface BenchSubject {
  /** As typed. */
  readonly model: string;
  readonly info: BenchedModel;
  readonly cpu: string;
  readonly runtime: string;
  readonly check: BenchCheck;
  /** Highest resident set of the process, bytes; loading the model counts. */
  readonly peakRss: number;
  /** What it was for. */
  readonly memory: MemoryKinds;
}

/** Mean and deviation of a sample, the latter with n - 1 below; 0 of a single value. */
export interface Spread {
  readonly mean: number;
  readonly deviation: number;
}

/** Mean and standard deviation of one or more values. */
export function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return { mean, deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}

/** A test's name: `pp128`, `tg64`, `step8x128`. */
export function testName({ kind, tokens, batch }: BenchTest): string {
  return kind === 'step' ? `step${batch}x${tokens}` : `${kind}${tokens}`;
}

/** Results as text that ends with a line break. */
export function renderBench(
  format: BenchFormat,
  subject: BenchSubject,
  results: readonly BenchResult[],
): string {
  if (format === 'md') return renderMarkdown(subject, results);
  const records = results.map((result) => recordOf(subject, result));
  if (format === 'json') return `${JSON.stringify(records, null, 2)}\n`;
  return records.length === 0 ? '' : renderCsv(records);
}

/** Tokens a second of each repetition. */
function ratesOf({ runs }: BenchResult): number[] {
  return runs.map(({ tokens, ms }) => (tokens / ms) * 1e3);
}

function bytesPerSample({ test, runs }: BenchResult): number | null {
  return test.kind === 'step' ? runs[0].bytes / test.batch : null;
}

/** One result under llama-bench's names where it means the same. Times are nanoseconds. */
function recordOf(subject: BenchSubject, result: BenchResult) {
  const { info, check } = subject;
  const { test, runs } = result;
  const nanoseconds = runs.map(({ ms }) => Math.round(ms * 1e6));
  const rates = ratesOf(result);
  const [time, rate] = [spreadOf(nanoseconds), spreadOf(rates)];
  return {
    cpu_info: subject.cpu,
    runtime: subject.runtime,
    backends: result.backend,
    kernels: info.kernels,
    model_filename: subject.model,
    model_type: modelType(info),
    model_size: info.weightBytes,
    model_n_params: info.parameters,
    precision: info.precision,
    n_threads: result.threads,
    test: testName(test),
    n_prompt: test.kind === 'tg' ? 0 : test.tokens,
    n_gen: test.kind === 'tg' ? test.tokens : 0,
    n_samples: test.batch,
    n_tokens: runs[0].tokens,
    bytes_per_sample: bytesPerSample(result),
    test_time: result.startedAt,
    repetitions: runs.length,
    avg_ns: Math.round(time.mean),
    stddev_ns: Math.round(time.deviation),
    avg_ts: rate.mean,
    stddev_ts: rate.deviation,
    peak_rss: subject.peakRss,
    ...Object.fromEntries(
      Object.entries(subject.memory).map(([kind, bytes]) => [`memory_${kind}`, bytes]),
    ),
    check_first_layer: check.firstLayer,
    check_end: check.end,
    samples_ns: nanoseconds,
    samples_ts: rates,
  };
}

/** Every field in quotes, as llama-bench has it; lists are left out. */
function renderCsv(records: readonly ReturnType<typeof recordOf>[]): string {
  const quoted = (value: unknown) => `"${String(value ?? '').replaceAll('"', '""')}"`;
  const columns = Object.entries(records[0])
    .filter(([, value]) => !Array.isArray(value))
    .map(([name]) => name as keyof (typeof records)[number]);
  const lines = records.map((record) => columns.map((name) => quoted(record[name])).join(','));
  return `${[columns.join(','), ...lines].join('\n')}\n`;
}

/** `llama 135M int8`. */
function modelType({ architecture, parameters, precision }: BenchedModel): string {
  const [unit, name] = parameters >= 1e9 ? [1e9, 'B'] : parameters >= 1e6 ? [1e6, 'M'] : [1e3, 'K'];
  const digits = unit === 1e9 ? 1 : 0;
  return `${architecture} ${(parameters / unit).toFixed(digits)}${name} ${precision}`;
}

/** A column of the table: its head, its side, and its text for a result. */
type Column = readonly [head: string, right: boolean, text: (result: BenchResult) => string];

function renderMarkdown(subject: BenchSubject, results: readonly BenchResult[]): string {
  const { info, check } = subject;
  const { parameters } = info;
  const mebibytes = info.weightBytes / 2 ** 20;
  const size =
    mebibytes < 1024 ? `${mebibytes.toFixed(2)} MiB` : `${(mebibytes / 1024).toFixed(2)} GiB`;
  const params =
    parameters < 1e9 ? `${(parameters / 1e6).toFixed(2)} M` : `${(parameters / 1e9).toFixed(2)} B`;
  const columns: Column[] = [
    ['model', false, () => modelType(info)],
    ['size', true, () => size],
    ['params', true, () => params],
    ['backend', false, ({ backend }) => backend],
    ['threads', true, ({ threads }) => String(threads)],
    ['test', true, ({ test }) => testName(test)],
    [
      't/s',
      true,
      (result) => {
        const { mean, deviation } = spreadOf(ratesOf(result));
        return `${mean.toFixed(2)} ± ${deviation.toFixed(2)}`;
      },
    ],
  ];
  if (results.some(({ test }) => test.kind === 'step')) {
    columns.push(['bytes/sample', true, (result) => String(bytesPerSample(result) ?? '')]);
  }
  const cells = columns.map(([head, , text]) => [head, ...results.map(text)]);
  const widths = cells.map((column) => Math.max(...column.map((cell) => cell.length)));
  const line = (row: number) =>
    columns.map(([, right], c) =>
      right ? cells[c][row].padStart(widths[c]) : cells[c][row].padEnd(widths[c]),
    );
  const rule = columns.map(
    ([, right], c) => '-'.repeat(widths[c] - (right ? 1 : 0)) + (right ? ':' : ''),
  );
  const rows = [line(0), rule, ...results.map((_, i) => line(i + 1))];
  return `${[
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
    `cpu: ${subject.cpu}; ${subject.runtime}`,
    `kernels: ${info.kernels}`,
    `checked before: ${check.compared} are ${apart(check.firstLayer)} apart behind layer 1, ${apart(check.end)} at the end`,
    `highest memory of the process: ${formatBytes(subject.peakRss)}: ${renderKinds(subject.memory)}`,
  ].join('\n')}\n`;
}

function apart(distance: number): string {
  return distance === 0 ? '0' : distance.toPrecision(2);
}
