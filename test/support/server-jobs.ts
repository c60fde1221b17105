import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { TrainReport } from '../../src/cli/report.ts';
import { runCli, SMALL_JOB, startServer, type Workspace } from './cli.ts';

/** What came of a job: its report, all numbers of its adapter, and the server's log. */
export interface ServerJob {
  readonly report: TrainReport;
  readonly weights: Float32Array;
  readonly log: string;
}

/**
 * Trains a small job on a server started for it.
 * @param flags of `serve`, and of `train` behind those of the small job
 */
export async function trainOnServer(
  space: Workspace,
  name: string,
  flags: { readonly serve?: readonly string[]; readonly train?: readonly string[] } = {},
): Promise<ServerJob> {
  const server = await startServer(flags.serve);
  const { code, stdout, stderr } = await runCli([
    ...['train', '--server', server.url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', space.path(name), '--no-baselines', '--json', ...SMALL_JOB],
    ...(flags.train ?? []),
  ]);
  const { stderr: log } = await server.stop();
  assert.equal(code, 0, `${stderr}\n${log}`);
  const weights = readFileSync(space.path(name, 'adapter_model.safetensors'));
  return { report: JSON.parse(stdout) as TrainReport, weights: floatsOf(weights), log };
}

/** All numbers behind the header of a safetensors file, in the file's order. */
function floatsOf(file: Buffer): Float32Array {
  const start = 8 + Number(file.readBigUInt64LE());
  return new Float32Array(
    file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length),
  );
}

/** The largest difference of two adapters. */
export function furthestWeight(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

/**
 * Parameters after some thirty steps of AdamW at 1e-3 or so, which moves each by about the learning
 * rate whatever the size of its gradient: f32 sums in another order decide the sign where the
 * gradient is next to nothing.
 */
export const SAME_ADAPTER = 2e-3;
