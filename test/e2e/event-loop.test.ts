import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, test } from 'node:test';
import { runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';

/*
 * Compute never blocks an event loop: while a job runs, sockets, signals and progress of both
 * processes stay live, since all that computes is in threads.
 */

const PROBE = resolve(import.meta.dirname, '../support/loop-probe.ts');

/** The rule of ARCHITECTURE.md, in processor time: other load on the machine is not our doing. */
const MOST_CPU_MS = 50;

const space = workspace();
after(() => space.remove());

interface Longest {
  readonly cpuMs: number;
  readonly turns: number;
}

function probed(name: string) {
  const file = space.path(name);
  return {
    options: { nodeArgs: ['--import', PROBE], env: { MOBILLM_LOOP_PROBE: file } },
    longest: () => JSON.parse(readFileSync(file, 'utf8')) as Longest,
  };
}

function assertLive({ cpuMs, turns }: Longest, what: string): void {
  assert.ok(turns > 20, `${what}: only ${turns} turns seen`);
  assert.ok(cpuMs <= MOST_CPU_MS, `${what}: its event loop was blocked for ${cpuMs} ms`);
}

test('neither event loop is blocked during a job', async () => {
  const serving = probed('serve.json');
  const training = probed('train.json');
  const server = await startServer([], serving.options);
  const { code, stderr } = await runCli(
    [
      ...['train', '--server', server.url, '--model', space.model, '--data', space.tiny],
      ...['--adapter-path', space.path('adapter'), '--trace', space.path('trace.json')],
      // Adapters of a megabyte: hashing and moving them is work, too.
      ...[...SMALL_JOB, '--rank', '512', '--json'],
    ],
    training.options,
  );
  assert.equal((await server.stop()).code, 0);
  assert.equal(code, 0, stderr);
  assertLive(training.longest(), 'device');
  assertLive(serving.longest(), 'server');
});
