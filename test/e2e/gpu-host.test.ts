import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { findChromium } from '../support/chromium.ts';
import { assertFails, runCli, workspace } from '../support/cli.ts';
import { furthestWeight, trainOnServer } from '../support/server-jobs.ts';

/*
 * A server whose steps are made in a headless Chromium: the adapter is the one of cpu. Without a
 * Chromium it is skipped; CI has one. `test/browser/loss-curves.test.ts` has WebGL 2 as well.
 */

const space = workspace();
after(() => space.remove());

const chromium = findChromium();
if (!chromium && process.env.CI) {
  process.stderr.write('test: CI without a Chromium: --gpu-host chromium NOT checked\n');
}
const skip = chromium ? false : 'there is no Chromium here (chromium, or $CHROMIUM)';

/** Parameters after a dozen steps at 1e-3 and less; a step left out or made twice is off by ten times that. */
const SAME_ADAPTER = 1e-4;

/** Two epochs: a call for each batch as it comes, then calls of several. */
const train = ['--epochs', '2', '--layers', '1', '--batch-size', '16'];

test('--gpu-host chromium trains there, names the adapter, and gives the adapter of cpu', {
  skip,
}, async (t) => {
  const serve = ['--gpu-host', 'chromium', '--backend', 'gpu:webgpu', '--require-backend'];
  const reference = await trainOnServer(space, 'cpu', { serve: ['--backend', 'cpu'], train });
  const { report, weights, log } = await trainOnServer(space, 'webgpu', { serve, train });
  const { serverBackend } = report;
  t.diagnostic(serverBackend);
  assert.match(serverBackend, /^gpu:webgpu \(gpu\.js, .+\) in Chromium$/);
  assert.ok(log.includes(JSON.stringify(serverBackend)), 'the log names it');
  const worst = furthestWeight(weights, reference.weights);
  t.diagnostic(`off by ${worst}`);
  assert.ok(worst < SAME_ADAPTER, `off by ${worst}`);
});

test('auto takes no processor for a GPU, and says what answered', { skip }, async () => {
  const auto = ['serve', '--port', '0', '--gpu-host', 'chromium', '--backend', 'auto'];
  const result = await runCli([...auto, '--require-backend']);
  // On a machine with a GPU it would listen.
  assertFails(result, 1, /webgpu: no GPU answers, only software \([^)]*swiftshader/i);
});

test('without a Chromium, or with what does not go with one, a server does not start', async () => {
  const serve = ['serve', '--port', '0'];
  const missing = ['--gpu-host', 'chromium', '--chromium', space.path('no-such-program')];
  assertFails(await runCli([...serve, ...missing]), 2, /--chromium: .*no-such-program/);
  const path = { env: { PATH: space.root } };
  assertFails(await runCli([...serve, '--gpu-host', 'chromium'], path), 2, /no Chromium on PATH/);
  assertFails(await runCli([...serve, '--chromium', 'x']), 2, /goes with --gpu-host chromium/);
  const wasm = ['--gpu-host', 'chromium', '--backend', 'wasm'];
  assertFails(await runCli([...serve, ...wasm]), 2, /--backend wasm does not run gpu\.js/);
});
