#!/usr/bin/env node
import { Command } from 'commander';
import { MobillmError } from '../tensor/errors.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { VERSION } from './version.ts';

const program = new Command('mobillm')
  .description(
    'Fine-tune a language model from a device that only runs it forward: a frozen, quantized backbone here, a side network trained on a server over there.',
  )
  .version(VERSION)
  .option('--debug', 'show the stack of an error')
  // What commander has to say of a wrong flag is said below, in one line like every other error.
  .configureOutput({ outputError: () => {} })
  .exitOverride()
  .addHelpText(
    'after',
    `
Two machines, by hand:
  server$ mobillm serve --host 0.0.0.0 --port 8765
  device$ mobillm pull smollm2-135m
  device$ mobillm train --server ws://SERVER:8765 --data DIR --adapter-path my-adapter
  device$ mobillm eval --data DIR --adapter-path my-adapter
  device$ mobillm predict --adapter-path my-adapter --text "some text"

Exit codes: 0 done, 1 internal error, 2 usage, 3 bad data, 4 bad model or adapter file,
5 server or connection, 6 disk, 130 interrupted. Every error code is explained in docs/errors.md.`,
  );

/** What adds each command, in the order of the help. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import('./commands/serve.ts')).registerServe,
  train: async () => (await import('./commands/train.ts')).registerTrain,
  eval: async () => (await import('./commands/eval.ts')).registerEval,
  predict: async () => (await import('./commands/predict.ts')).registerPredict,
  generate: async () => (await import('./commands/generate.ts')).registerGenerate,
  bench: async () => (await import('./commands/bench.ts')).registerBench,
  inspect: async () => (await import('./commands/inspect.ts')).registerInspect,
  pack: async () => (await import('./commands/pack.ts')).registerPack,
  preprocess: async () => (await import('./commands/preprocess.ts')).registerPreprocess,
  pull: async () => (await import('./commands/pull.ts')).registerPull,
  demo: async () => (await import('./commands/demo.ts')).registerDemo,
};

// The command that is named is loaded and no other: what they all need is 40 MB of a process. But
// keys of a configuration file may be those of another command.
const named = process.argv.find((argument, i) => i > 1 && !argument.startsWith('-')) ?? '';
const alone = Object.hasOwn(COMMANDS, named) && !process.argv.some(namesConfig);
for (const load of alone ? [COMMANDS[named]] : Object.values(COMMANDS)) (await load())(program);

function namesConfig(argument: string): boolean {
  return argument === '--config' || argument.startsWith('--config=');
}

// A reader that has seen enough, as in `mobillm --help | head`, ends the command and is no fault; a
// terminal that is gone must not end a training whose progress nobody reads.
const endWhereNobodyReads = (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.ok);
};
process.stdout.on('error', endWhereNobodyReads);
process.stderr.on('error', () => {});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Errors of the argument parser; help and version, which are none, come as errors as well. */
function reportUsage(error: Error & { exitCode?: number; code?: string }): number {
  if (error.exitCode === 0) return 0;
  // Called without a command: the help is the answer.
  if (error.code !== 'commander.help') {
    const command = program.commands.find((known) => known.name() === process.argv[2]);
    const help = ['mobillm', command?.name(), '--help'].filter(Boolean).join(' ');
    const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    process.stderr.write(`error [E_USAGE]: ${message} (see ${help})\n`);
  }
  return exitCodeOf(error);
}

/** Says in one line what went wrong, and gives the exit code. */
function report(error: unknown): number {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code === 'string' && code.startsWith('commander.')) return reportUsage(error as Error);
  const exitCode = exitCodeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (exitCode === 130) process.stderr.write(`interrupted: ${message}\n`);
  else {
    const label = error instanceof MobillmError ? ` [${error.code}]` : '';
    process.stderr.write(`error${label}: ${message}\n`);
  }
  if (program.opts().debug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return exitCode;
}
