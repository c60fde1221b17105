// npm run bench:rust -- [--json]: our int8 kernel beside the same one in Rust.
import { parseArgs } from 'node:util';
import { describeMachine } from '../harness.ts';
import { markdownTable } from '../markdown.ts';
import { compareRust } from './compare.ts';
import { buildRust, missingTools, toolVersions } from './toolchain.ts';

const USAGE = `npm run bench:rust -- [--json]
Builds the int8 product in bench/rust with wasm-pack, holds its results against ours bit by bit at sizes
around the edges of tiles, then times both in turns (processor time, one thread).
Exit codes: 0 done, 1 they differ or something failed, 2 wrong arguments, 3 no toolchain.`;

function parse() {
  try {
    return parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    console.error(`bench:rust: ${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

const { json, help } = parse();
const missing = help ? [] : missingTools();
if (help) console.log(USAGE);
else if (missing.length > 0) {
  console.error(`bench:rust: missing: ${missing.join('; ')}`);
  process.exitCode = 3;
} else {
  try {
    await compareAll();
  } catch (error) {
    console.error(`bench:rust: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

async function compareAll(): Promise<void> {
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const parts = [];
  for (const variant of ['simd128', 'relaxed'] as const) {
    say(`${variant}: building`);
    parts.push(await compareRust(await buildRust(variant), variant, say));
  }
  const machine = describeMachine();
  const [tools, checked] = [toolVersions(), parts.reduce((sum, part) => sum + part.checked, 0)];
  const comparisons = parts.flatMap((part) => part.comparisons);
  if (json) {
    console.log(JSON.stringify({ machine, tools, checked, comparisons }));
    return;
  }
  const { cpu, cores, load, runtime } = machine;
  console.log(`${cpu}, ${cores} cores, load ${load}; ${runtime}; ${tools}`);
  console.log(`${checked} products equal to the bit\n`);
  console.log(
    markdownTable(
      ['MxKxN', 'variant', 'ours GOP/s', 'Rust GOP/s', 'ours is', 'quartiles'],
      comparisons.map(({ size, variant, oursGops, rustGops, ratio }) => [
        size.join('x'),
        variant,
        oursGops.toFixed(1),
        rustGops.toFixed(1),
        `${ratio.median.toFixed(2)}x`,
        `${ratio.low.toFixed(2)}-${ratio.high.toFixed(2)}`,
      ]),
      [2, 3, 4, 5],
    ),
  );
}
