// npm run bench:peers -- gemm|models|server|lora|full-finetune [...]: ours beside what people would use
// instead.
import { parseArgs } from 'node:util';
import { describeMachine } from '../harness.ts';
import { TUNINGS } from '../tuning.ts';
import { compareGemm, gemmMarkdown } from './gemm.ts';
import { installPeers, peerVersion } from './installed.ts';
import { compareModels, modelMarkdown } from './models.ts';
import { compareSteps, stepMarkdown } from './server.ts';

const USAGE = `npm run bench:peers -- gemm|models|server [--filter REGEX] [--threads N] [--rounds N] [--json]
npm run bench:peers -- lora|full-finetune --data DIR ...   (PyTorch's tunings; --help after either)
  gemm            products of matrices: onnxruntime-web, onnxruntime-node, gpu.js (2 minutes)
  models          SmolLM2 from end to end: llama.cpp by kind of CPU, wllama in Chromium (4 minutes)
  server          a side network's train step: TensorFlow.js, PyTorch, gpu.js's plans (3 minutes)
  --filter REGEX  only what matches: '^int8/square' of gemm, 'AVX2|wllama' of models, '^plan' of server
  --threads N     of models (default 1; with more, the clock instead of processor time)
  --rounds N      of models and server: runs of each engine (default 3)
  --python PATH   of server: a Python that has bench/peers/server-requirements.txt (default python3)
  --json          one JSON object instead of tables
Everything is verified first, then timed in turns with ours. What is compared is installed on the first
call into bench/peers/node_modules (780 MB; nothing of it runs while it is installed).
Exit codes: 0 done, 1 something failed, 2 wrong arguments.`;

const PEERS = [
  'onnxruntime-web',
  'onnxruntime-node',
  'node-llama-cpp',
  '@wllama/wllama',
  '@tensorflow/tfjs-backend-wasm',
];

const TABLES = ['gemm', 'models', 'server'];

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
        python: { type: 'string', default: 'python3' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [table] = positionals;
    if (!values.help && (positionals.length !== 1 || !TABLES.includes(table))) {
      throw new Error(`one of ${TABLES.join(', ')} is to be named`);
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

const [named = '', ...after] = process.argv.slice(2);
if (Object.hasOwn(TUNINGS, named)) {
  try {
    await TUNINGS[named](after);
    process.exit(0);
  } catch (error) {
    console.error(`bench:peers: ${(error as Error).message}`);
    process.exit(1);
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
  const { filter, threads, rounds, python, json } = options;
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const tables = { gemm, models, server } as const;
  const table = await tables[options.table as keyof typeof tables]();
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

  async function server() {
    const comparisons = await compareSteps({ filter, rounds, python, say });
    return { data: { comparisons }, markdown: stepMarkdown(comparisons) };
  }
} catch (error) {
  console.error(`bench:peers: ${(error as Error).message}`);
  process.exitCode = 1;
}
