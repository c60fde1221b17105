import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeviceThread } from '../../src/cli/device-thread.ts';
import { modelPath, skipWithoutModel } from '../support/model.ts';

/*
 * Compute never blocks the event loop: while a thread runs passes of a real model, timers of the main
 * thread come on time. Of two measures the processor time between two turns of the loop is what the
 * main thread itself did, whatever else the machine does; the clock also sees a thread that waits in
 * a synchronous call (for other threads, say), but a busy machine too: there the best of several
 * passes counts.
 */

/** Longest time for which the loop may not come round, in ms. */
const MOST_MS = 50;
const TOKENS = 256;
/** Passes: one at which the machine left the main thread alone is enough for the clock's measure. */
const PASSES = 8;

interface Longest {
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly turns: number;
}

/** Longest stretches between two turns of this thread's loop while `work` runs. */
async function watched(work: () => Promise<unknown>): Promise<Longest> {
  const PERIOD_MS = 1;
  const cpuNow = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let [cpuMs, wallMs, turns] = [0, 0, 0];
  let [cpu, wall] = [cpuNow(), performance.now()];
  const turn = () => {
    const [cpuThen, wallThen] = [cpu, wall];
    [cpu, wall] = [cpuNow(), performance.now()];
    cpuMs = Math.max(cpuMs, cpu - cpuThen);
    wallMs = Math.max(wallMs, wall - wallThen - PERIOD_MS);
    turns++;
  };
  const timer = setInterval(turn, PERIOD_MS);
  try {
    await work();
    // What the last stretch held, too.
    turn();
  } finally {
    clearInterval(timer);
  }
  return { cpuMs, wallMs, turns };
}

test('the watch sees a loop that is blocked', async () => {
  const { cpuMs, wallMs } = await watched(async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const end = performance.now() + 4 * MOST_MS;
    while (performance.now() < end);
  });
  // Of the processor's time only so much as the machine gave us.
  assert.ok(wallMs > 3 * MOST_MS && cpuMs > 0, `${wallMs} ms, of which ${cpuMs} at work`);
});

const skip = skipWithoutModel();

for (const threads of [1, 2]) {
  const name = `passes of SmolLM2-135M in ${threads === 1 ? 'one thread' : 'two threads'}`;
  test(`${name} never block the event loop above 50 ms`, { skip }, async (t) => {
    const path = modelPath() as string;
    let device: DeviceThread | undefined;
    const loading = await watched(async () => {
      device = await DeviceThread.load({
        path,
        precision: 'int8',
        backend: 'wasm',
        threads,
        // Neither read nor write what the user's cache has packed.
        pack: 'never',
      });
    });
    assert.ok(device);
    t.diagnostic(`loading: ${JSON.stringify(loading)}`);
    assert.ok(loading.cpuMs <= MOST_MS, `blocked for ${loading.cpuMs} ms while loading`);
    try {
      await device.benchPrepare({ kind: 'pp', tokens: TOKENS, batch: 1 });
      let best = Number.POSITIVE_INFINITY;
      for (let pass = 0; pass < PASSES && best > MOST_MS; pass++) {
        const seen = await watched(() => (device as DeviceThread).benchRun());
        t.diagnostic(`pass ${pass + 1}: ${JSON.stringify(seen)}`);
        assert.ok(seen.turns > 20, `only ${seen.turns} turns of the loop: the pass is too short`);
        assert.ok(
          seen.cpuMs <= MOST_MS,
          `the main thread worked for ${seen.cpuMs} ms at a stretch`,
        );
        best = Math.min(best, seen.wallMs);
      }
      assert.ok(best <= MOST_MS, `blocked for ${best} ms in the best of ${PASSES} passes`);
    } finally {
      await device.close();
    }
  });
}
