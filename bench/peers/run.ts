// npm run bench:peers -- gemm|models [...]: ours beside what people would use instead.
import { parseArgs } from 'node:util';
import { describeMachine } from '../harness.ts';
import { compareGemm, gemmMarkdown } from './gemm.ts';
import { installPeers, peerVersion } from './installed.ts';
import { compareModels, modelMarkdown } from './models.ts';

const USAGE = `npm run bench:peers -- gemm|models [--filter REGEX] [--threads N] [--rounds N] [--json]
  gemm            products of matrices: onnxruntime-web, onnxruntime-node, gpu.js (2 minutes)
  models          SmolLM2 from end to end: llama.cpp by kind of CPU, wllama in Chromium (4 minutes)
  --filter REGEX  only what matches: '^int8/square' of gemm, 'AVX2|wllama' of models
  --threads N     of models (default 1; with more, the clock instead of processor time)
  --rounds N      of models: runs of each engine (default 3)
  --json          one JSON object instead of tables
Everything is verified first, then timed in turns with ours. What is compared is installed on the first
call into bench/peers/node_modules (540 MB; nothing of it runs while it is installed).
Exit codes: 0 done, 1 something failed, 2 wrong arguments.`;

const PEERS = ['onnxruntime-web', 'onnxruntime-node', 'node-llama-cpp', '@wllama/wllama'];

/** A number above 0 as a flag gives it. */
function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${flag}: ${text} is no count`);
  return value;
}

/** Arguments, or the reason they are none. */
function parse() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        filter: { type: 'string', default: '' },
        threads: { type: 'string', default: '1' },
        rounds: { type: 'string', default: '3' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [table] = positionals;
    if (!values.help && (positionals.length !== 1 || (table !== 'gemm' && table !== 'models'))) {
      throw new Error('one of gemm and models is to be named');
    }
    return {
      ...values,
      table,
      filter: new RegExp(values.filter),
      threads: positive('threads', values.threads),
      rounds: positive('rounds', values.rounds),
    };
  } catch (error) {
    console.error(`bench:peers: ${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

const options = parse();
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
try {
  await installPeers();
  const machine = describeMachine();
  const versions = PEERS.map((name) => `${name} ${peerVersion(name)}`);
  const { filter, threads, rounds, json } = options;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const table = options.table === 'gemm' ? await gemm() : await models();
  if (json) console.log(JSON.stringify({ machine, versions, ...table.data }));
  else {
    const { cpu, cores, load, runtime } = machine;
    console.log(`${cpu}, ${cores} cores, load ${load}; ${runtime}; ${versions.join(', ')}\n`);
    console.log(table.markdown);
  }

  async function gemm() {
    const comparisons = await compareGemm({ filter, say });
    return { data: { comparisons }, markdown: gemmMarkdown(comparisons) };
  }

  async function models() {
    const comparison = await compareModels({ filter, threads, rounds, say });
    return { data: comparison, markdown: modelMarkdown(comparison) };
  }
} catch (error) {
  console.error(`bench:peers: ${(error as Error).message}`);
  process.exitCode = 1;
}
