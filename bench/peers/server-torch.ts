// The side network's train step in PyTorch, in a process of its own, where a Python has it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { StepShape } from '../server-shapes.ts';
import type { StepData } from '../server-steps.ts';
import { HYPER, type StepEngine, type StepNumbers } from './server-engine.ts';

/** Steps whose learning rates are told apart; all after have the last one's. */
const RATES = 100;

/** A step's numbers, and how long one of those asked for took. */
type Reply = StepNumbers & { readonly seconds: number };

/**
 * The engine, at the start of its training.
 * @param adamw which of PyTorch's fast forms of AdamW runs
 * @throws Error with the last of what Python said, where it has no torch
 */
export async function torchEngine(
  shape: StepShape,
  data: StepData,
  python: string,
  adamw: 'foreach' | 'fused',
): Promise<StepEngine> {
  const folder = mkdtempSync(join(tmpdir(), 'mobillm-peers-'));
  const file = join(folder, 'numbers.f32');
  const parts = [...data.params.values(), ...data.taps];
  writeFileSync(
    file,
    Buffer.concat(
      parts.map(
        ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
      ),
    ),
  );
  const child = spawn(python, [join(import.meta.dirname, 'server-torch.py'), adamw], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' },
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-600);
  });
  child.stdin.on('error', () => {}); // its end is told below
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const gone = new Promise<never>((_, reject) => {
    child.on('error', (error) => reject(new Error(`${python}: ${error.message}`)));
    child.on('close', () => {
      reject(new Error(`${python}: ${said.trim().split('\n').at(-1) || 'ended'}`));
    });
  });
  gone.catch(() => {});
  const ask = async (message: unknown): Promise<unknown> => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const { value } = await Promise.race([lines.next(), gone]);
    if (value === undefined) return gone;
    return JSON.parse(value);
  };
  const dispose = async () => {
    child.stdin.end();
    await gone.catch(() => {});
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const { rateAt, ...hyper } = HYPER;
    const { version, cpu } = (await ask({
      ...{ file, shape, hyper, labels: data.labels },
      params: Array.from(data.params, ([path, values]) => [path, values.length]),
      rates: Array.from({ length: RATES }, (_, done) => rateAt(done)),
    })) as { version: string; cpu: string };
    return {
      engine: 'PyTorch',
      variant: `${version} ${cpu}, AdamW ${adamw}, 1 thread`,
      step: async () => (await ask({ steps: 1 })) as Reply,
      seconds: async (steps) => ((await ask({ steps })) as Reply).seconds,
      dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}
