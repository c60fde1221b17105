// Runs one verb of the project from its sources: node scripts/run.mjs <verb> [arguments].
// Installs and compiles first what is missing, then hands over to Node 24.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

/** Models that parity tests need, and the variable that names a copy of one. */
const TEST_MODELS = { 'smollm2-135m': 'MOBILLM_TEST_GGUF', minilm: 'MOBILLM_TEST_MINILM' };
const CLI = 'src/cli/main.ts';

/**
 * Where Node keeps modules with their types stripped and compiled: a command then starts from source
 * in a third of the time. Keyed by content; workers and child processes use it, too.
 */
const COMPILE_CACHE = join(root, 'node_modules', '.cache', 'compile');

/** A test that hangs fails after this long instead of holding everything up. */
const TEST_TIMEOUT_MS = 600_000;

/** Arguments of node for each verb, from the arguments after the verb. */
const VERBS = {
  demo: (rest) => [CLI, 'demo', ...rest],
  mobillm: (rest) => [CLI, ...rest],
  bench: (rest) => ['bench/run.ts', ...rest],
  'bench:peers': (rest) => ['bench/peers/run.ts', ...rest],
  'bench:rust': (rest) => ['bench/rust/run.ts', ...rest],
  learning: (rest) => ['bench/learning.ts', ...rest],
  example: ([name = '', ...rest]) => [
    '--import',
    './scripts/package-from-source.mjs',
    `examples/${exampleName(name)}.ts`,
    ...rest,
  ],
  test: (rest) => [
    '--test',
    '--test-reporter=spec',
    // By default one core stays unused, which on two cores means no parallelism at all.
    `--test-concurrency=${availableParallelism()}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    ...rest.filter((argument) => argument.startsWith('-')),
    ...(rest.some((argument) => !argument.startsWith('-'))
      ? rest.filter((argument) => !argument.startsWith('-'))
      : ['test/**/*.test.ts']),
  ],
};

/** The name of an example; ends with the list of them where there is none of that name. */
function exampleName(given) {
  const files = readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.ts'));
  const names = files.map((file) => file.replace(/\.ts$/, ''));
  const name = given.replace(/^examples\//, '').replace(/\.ts$/, '');
  if (names.includes(name)) return name;
  process.stderr.write(`usage: npm run example -- ${names.join('|')}\n`);
  process.exit(2);
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs node on `args`; resolves to the exit code, 128 + number after a signal: one that ended the
 * child, or one that made a child without handlers of its own (`node --test`) give up.
 */
function run(node, args, { handlesSignals = true } = {}) {
  return new Promise((done) => {
    const env = { NODE_COMPILE_CACHE: COMPILE_CACHE, ...process.env };
    const child = spawn(node, args, { cwd: root, stdio: 'inherit', env });
    let received;
    let last = 0;
    const forward = (signal) => {
      // A terminal sends Ctrl-C to every process in the foreground, the child included; and npm
      // passes on what it gets itself. The child takes a second Ctrl-C for impatience.
      const fromTerminal = signal === 'SIGINT' && process.stdin.isTTY;
      const again = Date.now() - last < 300;
      last = Date.now();
      received = signal;
      if (!fromTerminal && !again) child.kill(signal);
    };
    for (const signal of SIGNALS) process.on(signal, forward);
    // npm runs scripts in a shell that passes no signal on: when npm is stopped the shell goes, and
    // all that can be noticed here is that the parent is another.
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(watch);
      forward('SIGTERM');
    }, 500);
    if (!process.env.npm_lifecycle_event) clearInterval(watch);
    const end = (code) => {
      clearInterval(watch);
      for (const signal of SIGNALS) process.off(signal, forward);
      done(code);
    };
    child.on('error', (error) => {
      process.stderr.write(`${node}: ${error.message}\n`);
      end(1);
    });
    child.on('exit', (code, signal) => {
      const cause = signal ?? (code !== 0 && !handlesSignals ? received : undefined);
      end(cause ? 128 + constants.signals[cause] : code);
    });
  });
}

/**
 * Fetches the models that parity tests need. Without them they are skipped, and say so; in CI that
 * would be a hole in what is verified, so there it is an error.
 */
async function fetchTestModels(node) {
  for (const [model, variable] of Object.entries(TEST_MODELS)) {
    if (process.env[variable]) continue;
    const code = await run(node, [CLI, 'pull', model]);
    if (code === 130 || (code !== 0 && process.env.CI)) return code;
    if (code === 0) continue;
    process.stderr.write(
      `test: no model (pull ${model}: exit code ${code}); tests of it are skipped\n`,
    );
  }
  return 0;
}

const [verb, ...rest] = process.argv.slice(2);
if (!Object.hasOwn(VERBS, verb ?? '')) {
  process.stderr.write(`usage: node scripts/run.mjs ${Object.keys(VERBS).join('|')} [arguments]\n`);
  process.exit(2);
}
const node = setupOrExit();
const before = verb === 'test' ? await fetchTestModels(node) : 0;
process.exitCode =
  before || (await run(node, VERBS[verb](rest), { handlesSignals: verb !== 'test' }));
