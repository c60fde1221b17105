import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import type { ModelFamily } from '../../model/index.ts';
import { cacheDir } from '../../platform/node.ts';
import { UsageError } from '../../tensor/errors.ts';
import { type DemoTaskName, demoData, demoTasks } from '../demo-data.ts';
import { DEFAULT_MODEL } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { resolveModel } from '../load-device.ts';
import { factsOfPath } from '../model-files.ts';

/** What a demo is asked for. */
export interface DemoFlags {
  readonly data: DemoTaskName;
  readonly model: string;
  readonly adapterPath?: string;
  readonly json?: boolean;
}

/** The words around a sample that ask a decoder for its class, as one would choose them for the task. */
export const demoTemplates: Readonly<Record<DemoTaskName, string>> = {
  wordnet10: '{text}\nThis is a kind of',
  sentiment: '{text}\nOverall, this review is',
};

/**
 * The flags of `mobillm train` that a demo chooses itself. An encoder gets no template: it reads the
 * bare text, which is what train takes where none is given.
 */
export function demoJob(flags: DemoFlags, family: ModelFamily): string[] {
  return [
    ...['--adapter-path', flags.adapterPath ?? `adapters/${flags.data}`],
    ...['--model', flags.model],
    ...(family === 'decoder' ? ['--template', demoTemplates[flags.data]] : []),
    ...(flags.json ? ['--json'] : []),
  ];
}

/** `mobillm demo`: a server process and a device process on a real task; all it does is call them. */
export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('start a server and a device that tune a real model on real data')
    .addOption(
      new Option('--data <task>', 'task to tune on')
        .choices(Object.keys(demoTasks))
        .default('wordnet10'),
    )
    .option('--model <name|path>', 'model to tune on', DEFAULT_MODEL)
    .option('--adapter-path <folder>', 'where the adapter is written (default: adapters/<task>)')
    .option('--json', 'print one JSON object on standard output instead of the table')
    .allowUnknownOption()
    .allowExcessArguments()
    .addHelpText(
      'after',
      '\nEvery other flag is passed on to mobillm train; --resume goes on with a demo that was stopped.',
    )
    .action(async (flags: DemoFlags, command: Command) => {
      await interruptible('demo stopped', (signal) => runDemo(flags, command.args, signal));
    });
}

async function runDemo(
  flags: DemoFlags,
  passedOn: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const quiet = flags.json === true;
  const say = (text: string) => void (quiet || process.stderr.write(`${text}\n`));
  const folder = await demoData(flags.data);
  say(`data: ${demoTasks[flags.data].description}\n      ${folder}`);
  const modelPath = await resolveModel(flags.model, { quiet, signal });
  const { family } = await factsOfPath(modelPath);

  const main = process.argv[1];
  const start = (args: readonly string[], stdin: 'ignore' | 'pipe', stdout: 'inherit' | 'pipe') =>
    spawn(process.execPath, [...process.execArgv, main, ...args], {
      stdio: [stdin, stdout, 'inherit'],
    });
  const server = start(
    [
      ...['serve', '--port', '0', '--json', '--log-level', 'warn', '--until-input-ends'],
      ...['--state-dir', join(cacheDir(), 'demo-jobs')],
    ],
    'pipe',
    'pipe',
  );
  let stopped = false;
  const stopServer = () => {
    // A second signal would end it while it saves.
    if (!stopped) server.kill('SIGTERM');
    stopped = true;
    // It reads its input to the end, and would wait for that.
    server.stdin?.end();
  };
  signal.addEventListener('abort', stopServer, { once: true });
  try {
    const [first] = await Promise.race([
      once(createInterface({ input: server.stdout as NodeJS.ReadableStream }), 'line', { signal }),
      once(server, 'exit').then(([code]) => {
        throw new UsageError(`demo: the server ended with code ${code}`);
      }),
    ]);
    const { url } = JSON.parse(first as string) as { url: string };
    say(`server: process ${server.pid}, ${url}`);
    const device = start(
      [
        ...['train', '--server', url, '--data', folder, ...demoJob(flags, family)],
        // A demo that was stopped before is in nobody's way.
        ...(passedOn.includes('--resume') ? [] : ['--restart']),
        ...passedOn,
      ],
      'ignore',
      'inherit',
    );
    say(`device: process ${device.pid}`);
    const interrupt = () => void device.kill('SIGINT');
    signal.addEventListener('abort', interrupt, { once: true });
    const [code] = (await once(device, 'exit')) as [number | null];
    signal.removeEventListener('abort', interrupt);
    process.exitCode = code ?? 1;
  } finally {
    stopServer();
  }
}
