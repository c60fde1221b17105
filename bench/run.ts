// npm run bench -- [--filter REGEX] [--quick] [--json] [--html FILE]: runs the cases of every bench/*.bench.ts.
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import {
  type BenchCases,
  type BenchResult,
  describeMachine,
  formatResult,
  measure,
} from './harness.ts';
import { renderHtml } from './html.ts';

const USAGE = `npm run bench -- [--filter REGEX] [--quick] [--json] [--html FILE] [--list]
  --filter REGEX  only cases whose name matches, for example '^matmul/nt|quant/qc8w.*down'
  --quick         verify, time almost nothing, leave the largest shapes out
  --json          one JSON object: machine, results
  --html FILE     one page with a bar a case, beside what is printed
  --list          names only
Names are FAMILY/[KIND/]VARIANT/SHAPE: matmul, attention, attention-grad, rms-norm, softmax, gelu,
cross-entropy, adamw, codec, quant. Every case is compared with its reference before it is timed.
GFLOP/s and GOP/s count 2MNK a matmul (integer ones are OP), GB/s the bytes of operands and results.
Only ratios of one run on a quiet machine mean something.
Exit codes: 0 done, 1 a case failed, 2 wrong arguments.`;

/** Arguments, or the reason they are none. */
function parse() {
  try {
    const { values } = parseArgs({
      options: {
        filter: { type: 'string', default: '' },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        html: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    // Before the work, not behind it.
    if (values.html !== undefined && !statSync(dirname(values.html)).isDirectory()) {
      throw new Error(`--html: ${dirname(values.html)} is no folder`);
    }
    return { ...values, filter: new RegExp(values.filter) };
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
const machine = describeMachine();
if (!options.json && !options.list) {
  console.log(`${machine.cpu}, ${machine.cores} cores, load ${machine.load}; ${machine.runtime}`);
}

const results: BenchResult[] = [];
const failures: string[] = [];
for (const file of readdirSync(import.meta.dirname).sort()) {
  if (!file.endsWith('.bench.ts')) continue;
  const url = pathToFileURL(join(import.meta.dirname, file)).href;
  const { cases } = (await import(url)) as { cases: BenchCases };
  for (const one of cases()) {
    if (!options.filter.test(one.name) || (options.quick && one.heavy)) continue;
    if (options.list) {
      console.log(one.name);
      continue;
    }
    try {
      const result = measure(one, options.quick);
      results.push(result);
      if (!options.json) console.log(formatResult(result));
    } catch (error) {
      failures.push(one.name);
      console.error(`${one.name}: ${(error as Error).message}`);
    }
  }
}
if (options.html !== undefined && !options.list) {
  const { quick } = options;
  writeFileSync(options.html, renderHtml({ machine, quick, results, failures }));
}
if (options.json) console.log(JSON.stringify({ machine, quick: options.quick, results, failures }));
else if (!options.list) {
  console.log(`${results.length} cases verified and timed, ${failures.length} failed`);
}
if (failures.length > 0 || (results.length === 0 && !options.list)) process.exitCode = 1;
