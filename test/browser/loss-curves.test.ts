import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { openPageHost } from '../../src/server/page-host.ts';
import { remoteEngine } from '../../src/server/remote-engine.ts';
import { cpuBackend } from '../../src/tensor/index.ts';
import { findChromium } from '../support/chromium.ts';
import { curveOfCpu, lossCurve, SAME_CURVE } from '../support/engine-trainings.ts';
import { furthest } from '../support/train-steps.ts';

/*
 * Ten epochs trained as a server with --gpu-host chromium trains them: the trainer here, its steps in
 * a page. Without a Chromium it is skipped; CI has one.
 */

const chromium = findChromium();
if (!chromium && process.env.CI) {
  process.stderr.write('test: CI without a Chromium: steps in Chromium NOT checked\n');
}
const skip = chromium ? false : 'there is no Chromium here (chromium, or $CHROMIUM)';

describe('ten epochs in Chromium have the losses of cpu', { skip }, async () => {
  const host = chromium ? await openPageHost(chromium) : undefined;
  after(() => host?.close());
  for (const mode of ['webgpu', 'webgl2'] as const) {
    test(mode, async (t) => {
      assert.ok(host);
      const { engine, adapter } = await remoteEngine(host.rpc, mode, 'Chromium');
      const since = performance.now();
      const curve = await lossCurve(cpuBackend(), engine);
      const expected = await curveOfCpu();
      const off = furthest(curve, expected);
      const seconds = Math.round((performance.now() - since) / 1000);
      t.diagnostic(
        `${engine.description}: off by ${off}; ${seconds} s; software: ${adapter?.software}`,
      );
      assert.equal(curve.length, expected.length);
      assert.ok(off < SAME_CURVE, `off by ${off}`);
    });
  }
});
