import type { Command } from 'commander';
import { Option } from 'commander';
import { pino } from 'pino';
import { runSession, SERVER_BACKENDS, type ServerBackend } from '../../server/index.ts';
import { serveWs } from '../../transport/ws-node.ts';
import { integer } from '../flags.ts';
import { VERSION } from '../version.ts';

interface ServeFlags {
  readonly host: string;
  readonly port: number;
  readonly backend: ServerBackend;
  readonly token?: string;
  readonly cacheLimit: number;
  readonly spillDir?: string;
  readonly logLevel: string;
  readonly json?: boolean;
}

const MEGABYTE = 1_000_000;

/** Bytes a device may have under way: a few batches, so that neither side waits for the other. */
const CREDIT_WINDOW = 16 * 1024 * 1024;

/** `mobillm serve`: trains side networks for whoever connects. */
export function registerServe(program: Command): void {
  program
    .command('serve')
    .description('train side networks for devices that connect')
    .option('--host <address>', 'address to listen on; 0.0.0.0 for all', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0 for any free one', integer(0), 8765)
    .addOption(
      new Option('--backend <name>', 'what trains; cpu is the slow reference')
        .choices([...SERVER_BACKENDS])
        .default('wasm'),
    )
    .option('--token <secret>', 'refuse devices that do not present it', process.env.MOBILLM_TOKEN)
    .option(
      '--cache-limit <MB>',
      'activations of a job held in memory; the rest goes to disk',
      integer(1),
      1024,
    )
    .option(
      '--spill-dir <folder>',
      'where activations beyond that go (default: the temporary folder)',
    )
    .addOption(
      new Option('--log-level <level>', 'least severe line of the log')
        .choices(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info'),
    )
    .option('--json', 'print one JSON line {"url", "port"} on standard output once listening')
    .action(async (flags: ServeFlags) => {
      const log = pino({ level: flags.logLevel }, pino.destination(2));
      const server = await serveWs(
        {
          host: flags.host,
          port: flags.port,
          token: flags.token,
          onRefused: (error, remote) => log.warn({ code: error.code, remote }, error.message),
        },
        (connection) =>
          runSession(connection, {
            software: `mobillm ${VERSION}`,
            backend: flags.backend,
            cacheLimit: flags.cacheLimit * MEGABYTE,
            spillDir: flags.spillDir,
            creditWindow: CREDIT_WINDOW,
            log,
          }),
      );
      const { url, port } = server;
      log.info({ url, backend: flags.backend, version: VERSION }, 'listening');
      if (flags.json) process.stdout.write(`${JSON.stringify({ url, port })}\n`);
      await new Promise<void>((resolve) => {
        process.once('SIGINT', resolve);
        process.once('SIGTERM', resolve);
      });
      log.info('stopping');
      await server.close();
    });
}
