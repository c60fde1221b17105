import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { fileError } from '../../platform/node.ts';
import {
  findChromium,
  HeadStore,
  JobStore,
  probeBackend,
  runSession,
  SERVER_BACKENDS,
  type ServerBackend,
} from '../../server/index.ts';
import { UsageError } from '../../tensor/index.ts';
import { serveWs } from '../../transport/ws-node.ts';
import { decimal, integer, type ThreadChoice, threadChoice, threadsOf } from '../flags.ts';
import { VERSION } from '../version.ts';

interface ServeFlags {
  readonly host: string;
  readonly port: number;
  readonly backend: ServerBackend;
  readonly requireBackend?: boolean;
  readonly gpuHost: 'node' | 'chromium';
  readonly chromium?: string;
  readonly threads: ThreadChoice;
  readonly token?: string;
  readonly cacheLimit: number;
  readonly spillDir?: string;
  readonly heads?: string[];
  readonly stateDir?: string;
  readonly stateDays: number;
  readonly untilInputEnds?: boolean;
  readonly logLevel: string;
  readonly json?: boolean;
}

const MEGABYTE = 1_000_000;

/** Addresses that only this machine reaches. */
const LOOPBACK = /^(localhost|127\.[\d.]+|::1)$/;

function port(text: string): number {
  const value = integer(0)(text);
  if (value > 65_535) throw new InvalidArgumentError('It must be at most 65535.');
  return value;
}

/** Bytes a device may have under way: a few batches, so that neither side waits for the other. */
const CREDIT_WINDOW = 16 * 1024 * 1024;

/** Makes the folder where it is missing. @throws UsageError when it cannot be made or written to */
async function makeSpillDir(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
    await access(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw fileError('--spill-dir', path, error);
  }
}

/** The program in which gpu.js is to run, if not in this one. @throws UsageError where there is none */
function chromiumOf({ gpuHost, chromium, backend }: ServeFlags): string | undefined {
  if (gpuHost === 'node') {
    if (chromium === undefined) return undefined;
    throw new UsageError('--chromium: goes with --gpu-host chromium');
  }
  if (backend === 'cpu' || backend === 'wasm') {
    throw new UsageError(`--gpu-host chromium: --backend ${backend} does not run gpu.js`);
  }
  return findChromium(chromium);
}

/** `mobillm serve`: trains side networks for whoever connects. */
export function registerServe(program: Command): void {
  program
    .command('serve')
    .description('train side networks for devices that connect')
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0 for any free one', port, 8765)
    .addOption(
      new Option(
        '--backend <name>',
        'what trains; auto: a GPU where one answers, else wasm; cpu is the slow reference',
      )
        .choices([...SERVER_BACKENDS])
        .default('auto'),
    )
    .option(
      '--require-backend',
      'fail where that (for auto and gpu: a GPU) does not run, instead of falling back',
    )
    .addOption(
      new Option(
        '--gpu-host <host>',
        'where gpu.js runs; chromium: in a headless Chromium, whose GPU Node cannot reach',
      )
        .choices(['node', 'chromium'])
        .default('node'),
    )
    .option('--chromium <program>', 'the Chromium of --gpu-host (default: the first on PATH)')
    .addOption(
      new Option('--threads <n>', 'threads that train a job, of wasm; auto: one a core')
        .argParser(threadChoice)
        .default(1),
    )
    .option('--token <secret>', 'refuse devices that do not present it', process.env.MOBILLM_TOKEN)
    .option(
      '--cache-limit <MB>',
      'activations of a job held in memory; the rest goes to disk',
      decimal(0),
      1024,
    )
    .option(
      '--spill-dir <folder>',
      'where activations beyond that go (default: the temporary folder)',
    )
    .option(
      '--heads <models...>',
      'models that this server has itself (.gguf files, or folders): devices with the same need not send their output heads',
    )
    .option(
      '--state-dir <folder>',
      'keep jobs there, so that train --resume can continue them (default: none is kept)',
    )
    .option(
      '--state-days <days>',
      'jobs that nobody came back for are removed after that',
      decimal(0),
      14,
    )
    .addOption(
      // For who starts it as a child: a pipe ends with its process, however that ends.
      new Option('--until-input-ends', 'stop when standard input ends').hideHelp(),
    )
    .addOption(
      new Option('--log-level <level>', 'least severe line of the log')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .option('--json', 'print one JSON line {"url", "port"} on standard output once listening')
    .addHelpText(
      'after',
      `
Runs until Ctrl-C, which is its normal end: exit code 0. Jobs under way are broken off, and saved
with --state-dir; their devices are told. The log goes to standard error, a JSON object a line. What a device sends are
hidden states and labels, never text; see "What stays private, and what does not" in the README for what they give away. Beyond
this machine, give --token, and put a TLS proxy in front: --server wss://... connects through it.`,
    )
    .action(async (flags: ServeFlags) => {
      const log = pino({ level: flags.logLevel }, pino.destination(2));
      if (flags.spillDir) await makeSpillDir(flags.spillDir);
      if (!flags.token && !LOOPBACK.test(flags.host)) {
        log.warn({ host: flags.host }, 'whoever reaches this port can train here; give --token');
      }
      const backend = {
        name: flags.backend,
        required: flags.requireBackend,
        threads: threadsOf(flags.threads),
        chromium: chromiumOf(flags),
      };
      const probed = await probeBackend(backend);
      const store = flags.stateDir
        ? await JobStore.open(flags.stateDir, flags.stateDays)
        : undefined;
      // Most servers have no models, and need not hold what reads them.
      const own =
        flags.heads &&
        (await (
          await import('../own-heads.ts')
        ).OwnHeads.open(flags.heads, (path, error) =>
          log.warn({ path }, `no output head of its own: ${error.message}`),
        ));
      const heads = new HeadStore(flags.stateDir && join(flags.stateDir, 'heads'), own);
      const sessions = new Set<Promise<void>>();
      const server = await serveWs(
        {
          host: flags.host,
          port: flags.port,
          token: flags.token,
          onRefused: (error, remote) => log.warn({ code: error.code, remote }, error.message),
        },
        (connection) => {
          const session = runSession(connection, {
            software: `mobillm ${VERSION}`,
            backend,
            cacheLimit: Math.floor(flags.cacheLimit * MEGABYTE),
            spillDir: flags.spillDir,
            creditWindow: CREDIT_WINDOW,
            store,
            heads,
            log,
          });
          sessions.add(session);
          return session.finally(() => sessions.delete(session));
        },
      );
      const { url, port } = server;
      log.info({ url, backend: probed.description, version: VERSION }, 'listening');
      if (probed.fallbackReason) {
        // That there is no GPU is worth a warning only to who asked for one.
        const level = flags.backend === 'auto' ? 'info' : 'warn';
        log[level]({ backend: probed.description }, probed.fallbackReason);
      }
      if (flags.json) process.stdout.write(`${JSON.stringify({ url, port })}\n`);
      await new Promise<void>((resolve) => {
        process.once('SIGINT', resolve);
        process.once('SIGTERM', resolve);
        if (flags.untilInputEnds) process.stdin.once('close', resolve).resume();
      });
      log.info('stopping');
      await server.close();
      // Each saves its job.
      await Promise.allSettled(sessions);
    });
}
