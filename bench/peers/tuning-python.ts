// A Python of this folder's own with PyTorch, transformers and PEFT, set up on the first call.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const VENV = join(import.meta.dirname, '.venv');
const REQUIREMENTS = join(import.meta.dirname, 'lora-requirements.txt');
/** What was asked for when it was set up last; written once all of it is there. */
const STAMP = join(VENV, 'installed.txt');

/**
 * The interpreter, with `lora-requirements.txt` installed.
 * @throws Error where there is no Python 3, or the packages cannot be had
 */
export function tuningPython(): string {
  const bin = process.platform === 'win32' ? ['Scripts', 'python.exe'] : ['bin', 'python'];
  const python = join(VENV, ...bin);
  const wanted = readFileSync(REQUIREMENTS, 'utf8');
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted) return python;
  process.stderr.write('bench:peers: installing PyTorch, transformers and PEFT (5 GB) ...\n');
  run('python3', ['-m', 'venv', VENV]);
  run(python, ['-m', 'pip', 'install', '--quiet', '--requirement', REQUIREMENTS]);
  writeFileSync(STAMP, wanted);
  return python;
}

function run(command: string, args: readonly string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`);
}
