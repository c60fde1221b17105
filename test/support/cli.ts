import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { jsonLines, tinyModel, tinyRows } from './tiny-model.ts';

const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts');

/**
 * Where Node keeps what it compiled: with it a command starts in a third of the time. Keyed by
 * content, so it may outlive any change.
 */
const COMPILE_CACHE = join(tmpdir(), 'mobillm-test-compile-cache');

/** How a command ended. */
export interface CliResult {
  /** Exit code; null where a signal ended the process. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** Another program than the sources on this Node: `[node, script]`. */
  readonly command?: readonly [string, ...string[]];
  /** Flags of node itself. */
  readonly nodeArgs?: readonly string[];
  /** Beside this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Leaves standard input open, for the test to write to. */
  readonly keepStdin?: boolean;
}

/** A running command. */
export interface CliProcess {
  readonly child: ChildProcessWithoutNullStreams;
  readonly done: Promise<CliResult>;
  /** The output so far. */
  text(stream: 'stdout' | 'stderr'): string;
  /** Resolves with the output so far once `pattern` stands in it; rejects when it ends before. */
  until(stream: 'stdout' | 'stderr', pattern: { test(text: string): boolean }): Promise<string>;
}

/** Commands that run; one that a failed test left behind would keep its file from ending. */
const running = new Set<ChildProcessWithoutNullStreams>();

/** Starts `mobillm` with arguments, from its sources, in a process of its own. */
export function startCli(args: readonly string[], options: CliOptions = {}): CliProcess {
  const { nodeArgs = [], env = {}, stdin, keepStdin } = options;
  const [program, ...first] = options.command ?? [process.execPath, ...nodeArgs, MAIN];
  const child = spawn(program, [...first, ...args], {
    env: { ...process.env, NO_COLOR: '1', NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
  });
  running.add(child);
  child.on('exit', () => running.delete(child));
  const text = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (part: string) => {
      text[stream] += part;
      for (const look of waiting) look();
    });
  }
  // A command that does not read its input may be gone before it is written.
  child.stdin.on('error', () => {});
  if (!keepStdin) child.stdin.end(stdin);
  const done = new Promise<CliResult>((resolveDone, fail) => {
    child.on('error', fail);
    child.on('close', (code) => resolveDone({ code, ...text }));
  });
  return {
    child,
    done,
    text: (stream) => text[stream],
    until: (stream, pattern) =>
      new Promise((found, fail) => {
        const look = () => {
          if (!pattern.test(text[stream])) return;
          waiting.delete(look);
          found(text[stream]);
        };
        waiting.add(look);
        look();
        done.then(({ code }) => {
          if (!waiting.delete(look)) return;
          fail(new Error(`ended with ${code} before ${pattern}: ${text.stdout}${text.stderr}`));
        }, fail);
      }),
  };
}

/** Runs `mobillm` with arguments to its end. */
export function runCli(args: readonly string[], options?: CliOptions): Promise<CliResult> {
  return startCli(args, options).done;
}

/** Fails unless a command ended with `code`, one line on standard error that `says` so, and no output. */
export function assertFails(result: CliResult, code: number, says: RegExp): void {
  const { stderr, stdout } = result;
  assert.match(stderr, /^error \[E_[A-Z_]+\]: [^\n]+\n$/);
  assert.match(stderr, says);
  assert.equal(result.code, code);
  assert.equal(stdout, '');
}

/** A server process. */
export interface CliServer {
  readonly url: string;
  readonly process: CliProcess;
  /** Ends it with a signal and waits; SIGTERM unless said otherwise. */
  stop(signal?: NodeJS.Signals): Promise<CliResult>;
}

/** Starts `mobillm serve` on a free port. */
export async function startServer(
  args: readonly string[] = [],
  options?: CliOptions,
): Promise<CliServer> {
  const process = startCli(['serve', '--port', '0', '--json', ...args], options);
  const line = await process.until('stdout', /\n/);
  const { url } = JSON.parse(line) as { url: string };
  return {
    url,
    process,
    stop(signal = 'SIGTERM') {
      process.child.kill(signal);
      return process.done;
    },
  };
}

/** A folder for one test file: a tiny model and data. */
export interface Workspace {
  readonly root: string;
  /** A path inside. */
  path(...parts: string[]): string;
  /** Writes a data folder; a value is a file's text or its rows. */
  data(name: string, files: Readonly<Record<string, string | readonly object[]>>): string;
  readonly model: string;
  /** 60 training and 30 test rows of three classes. */
  readonly tiny: string;
  /** Removes it, and ends commands that still run. */
  remove(): void;
}

/** Makes such a folder. */
export function workspace(): Workspace {
  const root = mkdtempSync(join(tmpdir(), 'mobillm-e2e-'));
  const path = (...parts: string[]) => join(root, ...parts);
  const data: Workspace['data'] = (name, files) => {
    mkdirSync(path(name), { recursive: true });
    for (const [file, content] of Object.entries(files)) {
      const text = typeof content === 'string' ? content : jsonLines(content);
      writeFileSync(path(name, `${file}.jsonl`), text);
    }
    return path(name);
  };
  const model = path('tiny.gguf');
  writeFileSync(model, tinyModel());
  const tiny = data('tiny', {
    train: tinyRows(60, { seed: 1 }),
    test: tinyRows(30, { seed: 2 }),
  });
  return {
    root,
    path,
    data,
    model,
    tiny,
    remove() {
      for (const child of running) child.kill('SIGKILL');
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** Flags that make a training job a matter of a second. */
export const SMALL_JOB = [
  ...['--template', '{text}:', '--batch-size', '8', '--epochs', '4', '--rank', '8'],
  ...['--layers', 'all', '--seed', '3'],
];
