import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cpuBackend } from '../../src/tensor/backends/cpu/index.ts';
import { findChromium, openBrowser } from '../support/chromium.ts';
import { TRAPS } from '../support/gpu-traps.ts';
import { servePages } from '../support/page-server.ts';

/*
 * The kernels of the gpu.js backend on WebGPU and WebGL 2, in a headless Chromium: the properties
 * of test/property/kernels, in a page. Without a Chromium they are skipped; CI has one.
 */

/** Runs of each property: a GPU in software compiles a shader for each new length. */
const RUNS = '5';

/** A page that says nothing for so long has died. */
const SILENCE_MS = 120_000;

type Report =
  | { readonly kind: 'opened'; readonly description: string }
  | { readonly kind: 'kernel'; readonly name: string; readonly message?: string }
  | { readonly kind: 'trap'; readonly name: string; readonly message?: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'done'; readonly left: number };

/** Opens the page and gives what it reports, to its end. */
async function reportsOf(chromium: string, mode: string): Promise<readonly Report[]> {
  const reports: Report[] = [];
  let heard: () => void = () => {};
  const server = await servePages((report) => {
    reports.push(report as Report);
    heard();
  });
  const page = 'test/browser/page/kernels.ts';
  const browser = openBrowser(chromium, server.pageOf(page, { mode, runs: RUNS }));
  try {
    while (!['done', 'failed'].includes(reports.at(-1)?.kind ?? '')) {
      let timer: NodeJS.Timeout | undefined;
      const silence = new Promise<never>((_, reject) => {
        const said = JSON.stringify(reports.at(-1));
        timer = setTimeout(
          () => reject(new Error(`the page fell silent after ${said}`)),
          SILENCE_MS,
        );
      });
      const next = new Promise<void>((resolve) => {
        heard = resolve;
      });
      await Promise.race([next, silence, browser.ended]).finally(() => clearTimeout(timer));
    }
  } finally {
    await browser.close();
    await server.close();
  }
  return reports;
}

const chromium = findChromium();
if (!chromium && process.env.CI) {
  // A hole in what is verified; where none can be installed the run says so and goes on.
  process.stderr.write('test: CI without a Chromium: kernels on WebGPU and WebGL 2 NOT checked\n');
}

for (const mode of ['webgpu', 'webgl2']) {
  const skip = chromium ? false : 'there is no Chromium here (chromium, or $CHROMIUM)';
  describe(`gpu.js on ${mode} computes what cpu computes`, { skip }, async () => {
    const reports = chromium ? await reportsOf(chromium, mode) : [];
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
