// npm run bench -- [--filter REGEX] [--all] [--quick] [--json] [--html FILE]: runs the cases of every
// bench/*.bench.ts.
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { formatDuration, ProgressLine, rateAndEta } from '../src/cli/progress.ts';
import {
  type BenchCase,
  type BenchCases,
  type BenchResult,
  describeMachine,
  formatResult,
  measure,
  RESULT_HEAD,
} from './harness.ts';
import { renderHtml } from './html.ts';
import { allPeaks, bandwidthAt, LARGEST_FOOTPRINT, SMALLEST_FOOTPRINT } from './peak.ts';

const USAGE = `npm run bench -- [--filter REGEX] [--all] [--quick] [--json] [--html FILE] [--list]
  --filter REGEX  only cases whose name matches, for example '^matmul/nt|quant/qc8w.*down'
  --all           also what takes long or shows little new: other models' shapes, other layouts
  --quick         verify, time almost nothing
  --json          one JSON object: machine, ceilings, results
  --html FILE     one page with the roofline and a bar a case, beside what is printed
  --list          names only
Names are FAMILY/[KIND/]VARIANT/SHAPE: matmul, attention, attention-grad, rms-norm, softmax, gelu,
cross-entropy, adamw, codec, quant, server (a whole train step), steps. Every case is compared with its
reference before it is timed.
GOP/s count 2MNK a matmul, GB/s the bytes of operands and results; peak is the share of what a loop of
the same multiply-accumulates over registers alone reached in this run, roof the share of that or of
reading the bytes, whichever binds; both of the fastest sample.
Only ratios of one run on a quiet machine mean something.
Exit codes: 0 done, 1 a case failed, 2 wrong arguments.`;

/** Arguments, or the reason they are none. */
function parse() {
  try {
    const { values } = parseArgs({
      options: {
        filter: { type: 'string', default: '' },
        all: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        html: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.all && values.quick) throw new Error('--all and --quick exclude each other');
    // Before the work, not behind it.
    if (values.html !== undefined && !statSync(dirname(values.html)).isDirectory()) {
      throw new Error(`--html: ${dirname(values.html)} is no folder`);
    }
    return { ...values, filtered: values.filter !== '', filter: new RegExp(values.filter) };
  } catch (error) {
    console.error(`bench: ${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

const options = parse();
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}

/** Cases of all files: heavy ones by `--all`, or by a filter that names them, never by `--quick`. */
async function chosenCases(): Promise<BenchCase[]> {
  const heavyToo = !options.quick && (options.all || options.filtered);
  const chosen: BenchCase[] = [];
  for (const file of readdirSync(import.meta.dirname).sort()) {
    if (!file.endsWith('.bench.ts')) continue;
    const url = pathToFileURL(join(import.meta.dirname, file)).href;
    const { cases } = (await import(url)) as { cases: BenchCases };
    for (const one of cases()) {
      if (options.filter.test(one.name) && (heavyToo || !one.heavy)) chosen.push(one);
    }
  }
  return chosen;
}

/** Measures the ceilings, then every case; prints as it goes, and what was asked for at the end. */
async function measureAll(cases: readonly BenchCase[]): Promise<void> {
  const machine = describeMachine();
  const peaks = allPeaks();
  const bandwidths = [SMALLEST_FOOTPRINT, LARGEST_FOOTPRINT].map((bytes) => ({
    bytes,
    gbs: bandwidthAt(bytes),
  }));
  if (!options.json) {
    console.log(`${machine.cpu}, ${machine.cores} cores, load ${machine.load}; ${machine.runtime}`);
    const ceilings = [
      ...Array.from(peaks, ([name, gops]) => `${name} ${gops.toFixed(1)} GOP/s`),
      ...bandwidths.map(
        ({ bytes, gbs }) => `reading ${bytes / 2 ** 20} MiB ${gbs.toFixed(1)} GB/s`,
      ),
    ];
    console.log(`ceilings of one thread: ${ceilings.join(', ')}\n${RESULT_HEAD}`);
  }

  const results: BenchResult[] = [];
  const failures: string[] = [];
  const line = new ProgressLine();
  const start = performance.now();
  for (const [index, one] of cases.entries()) {
    line.update(() => {
      const { rate, eta } = rateAndEta(index, cases.length, start);
      return `${index} of ${cases.length} cases, ${rate.toFixed(1)} a second, ${eta} left: ${one.name}`;
    });
    try {
      const result = await measure(one, options.quick);
      results.push(result);
      if (!options.json) {
        line.done();
        console.log(formatResult(result));
      }
    } catch (error) {
      failures.push(one.name);
      line.done();
      console.error(`${one.name}: ${(error as Error).message}`);
    }
  }
  line.done();
  if (options.html !== undefined) {
    const { quick } = options;
    writeFileSync(
      options.html,
      renderHtml({ machine, quick, peaks, bandwidths, results, failures }),
    );
  }
  if (options.json) {
    const ceilings = { gops: Object.fromEntries(peaks), bandwidths };
    console.log(JSON.stringify({ machine, ceilings, quick: options.quick, results, failures }));
  } else {
    // The nearest to each ceiling: what there is left to win.
    for (const arithmetic of peaks.keys()) {
      const [best] = results
        .filter((result) => result.arithmetic === arithmetic)
        .toSorted((a, b) => (b.peakShare ?? 0) - (a.peakShare ?? 0));
      if (!best) continue;
      const share = Math.round((best.peakShare ?? 0) * 100);
      console.log(`${arithmetic}: ${share}% of the ceiling at best, by ${best.name}`);
    }
    const took = formatDuration((performance.now() - start) / 1e3);
    console.log(
      `${results.length} cases verified and timed in ${took}, ${failures.length} failed${options.all || options.filtered ? '' : '; --all has more'}`,
    );
  }
  if (failures.length > 0 || results.length === 0) process.exitCode = 1;
}

const cases = await chosenCases();
if (options.list) console.log(cases.map(({ name }) => name).join('\n'));
else await measureAll(cases);
