import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cpuBackend } from '../../src/tensor/backends/cpu/index.ts';
import { reportsOf } from '../support/browser-page.ts';
import { findChromium } from '../support/chromium.ts';
import { TRAPS } from '../support/gpu-traps.ts';

/*
 * The kernels of the gpu.js backend on WebGPU and WebGL 2, in a headless Chromium: the properties
 * of test/property/kernels, in a page. Without a Chromium they are skipped; CI has one.
 */

/** Runs of each property: a GPU in software compiles a shader for each new length. */
const RUNS = '5';

type Report =
  | { readonly kind: 'kernel'; readonly name: string; readonly message?: string }
  | { readonly kind: 'trap'; readonly name: string; readonly message?: string };

const PAGE = 'test/browser/page/kernels.ts';

const chromium = findChromium();
if (!chromium && process.env.CI) {
  // A hole in what is verified; where none can be installed the run says so and goes on.
  process.stderr.write('test: CI without a Chromium: kernels on WebGPU and WebGL 2 NOT checked\n');
}

for (const mode of ['webgpu', 'webgl2']) {
  const skip = chromium ? false : 'there is no Chromium here (chromium, or $CHROMIUM)';
  describe(`gpu.js on ${mode} computes what cpu computes`, { skip }, async () => {
    const reports = chromium ? await reportsOf<Report>(chromium, PAGE, { mode, runs: RUNS }) : [];
    test('the page opens that mode, and ends with nothing held', () => {
      const failed = reports.find((report) => report.kind === 'failed');
      assert.equal(failed, undefined, JSON.stringify(failed));
      const [first] = reports;
      assert.ok(first.kind === 'opened' && first.description.startsWith(`gpu:${mode} (`));
      const last = reports.at(-1);
      assert.ok(last?.kind === 'done' && last.left === 0);
    });
    const names = {
      kernel: Object.keys(cpuBackend().kernels),
      trap: TRAPS.map(({ name }) => name),
    };
    for (const kind of ['kernel', 'trap'] as const) {
      for (const name of names[kind]) {
        test(name, () => {
          const report = reports.find((one) => one.kind === kind && one.name === name);
          assert.ok(report?.kind === kind, 'the page never came to it');
          assert.equal(report.message, undefined, report.message);
        });
      }
    }
  });
}
