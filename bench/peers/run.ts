// npm run bench:peers -- [gemm] [--filter REGEX] [--json]: ours beside what people would use instead.
import { parseArgs } from 'node:util';
import { describeMachine } from '../harness.ts';
import { compareGemm, gemmMarkdown } from './gemm.ts';
import { installPeers, peerVersion } from './installed.ts';

const USAGE = `npm run bench:peers -- [gemm] [--filter REGEX] [--json]
  gemm            products of matrices: onnxruntime-web, onnxruntime-node, gpu.js (2 minutes)
  --filter REGEX  only what matches, for example '^int8/square'
  --json          one JSON object instead of tables
Everything is verified first, then timed in turns with ours, on one thread. What is compared is
installed on the first call into bench/peers/node_modules.
Exit codes: 0 done, 1 something failed, 2 wrong arguments.`;

const PEERS = ['onnxruntime-web', 'onnxruntime-node'];

/** Arguments, or the reason they are none. */
function parse() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        filter: { type: 'string', default: '' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [table = 'gemm', ...more] = positionals;
    if (table !== 'gemm' || more.length > 0) {
      throw new Error(`no table ${positionals.join(' ')}`);
    }
    return { ...values, table, filter: new RegExp(values.filter) };
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
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const comparisons = await compareGemm({ filter: options.filter, say });
  if (options.json) console.log(JSON.stringify({ machine, versions, comparisons }));
  else {
    console.log(
      `${machine.cpu}, ${machine.cores} cores, load ${machine.load}; ${machine.runtime}; ${versions.join(', ')}; one thread\n`,
    );
    console.log(gemmMarkdown(comparisons));
  }
} catch (error) {
  console.error(`bench:peers: ${(error as Error).message}`);
  process.exitCode = 1;
}
