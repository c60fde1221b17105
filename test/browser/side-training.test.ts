import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cpuBackend } from '../../src/tensor/backends/cpu/index.ts';
import { reportsOf } from '../support/browser-page.ts';
import { findChromium } from '../support/chromium.ts';
import { HEADS, TRAINING, waysOf } from '../support/side-trainings.ts';
import { furthest, type Trained, trainSide } from '../support/train-steps.ts';

/*
 * The side network trained on WebGPU and WebGL 2, in a headless Chromium, by the server's own steps:
 * the adapter is the one that cpu gives. Without a Chromium it is skipped; CI has one.
 */

/**
 * Exp and division on a GPU, and f32 sums, may put gradients off by some 2^-21 of the largest. AdamW
 * moves a parameter by up to the rate whatever the size of its gradient, so one whose gradient is a
 * thousandth of the largest goes 2^-11 of the rate astray: in each of twelve steps, at up to 0.01.
 */
const TRAINED = 12 * 0.01 * 2 ** -11;

interface Report {
  readonly kind: 'trained';
  readonly head: string;
  readonly way: string;
  readonly trained: Trained;
  readonly ms: number;
}

const PAGE = 'test/browser/page/side-training.ts';

/** What runs a compiled step; gpu.js has nothing better for WebGL, and that is said. */
const EXECUTORS = {
  webgpu: { executor: 'fused-encoder', fallback: undefined, plans: 1 },
  webgl2: { executor: 'kernels', fallback: /fuses no kernels/, plans: 0 },
};

const chromium = findChromium();
if (!chromium && process.env.CI) {
  process.stderr.write('test: CI without a Chromium: training on WebGPU and WebGL 2 NOT checked\n');
}

for (const mode of ['webgpu', 'webgl2'] as const) {
  const skip = chromium ? false : 'there is no Chromium here (chromium, or $CHROMIUM)';
  describe(`the side network trained on ${mode} is the one of cpu`, { skip }, async () => {
    const reports = chromium ? await reportsOf<Report>(chromium, PAGE, { mode }) : [];
    test('the page opens that mode, and ends with nothing held', (t) => {
      const failed = reports.find((report) => report.kind === 'failed');
      assert.equal(failed, undefined, JSON.stringify(failed));
      const [first] = reports;
      assert.ok(first.kind === 'opened' && first.description.startsWith(`gpu:${mode} (`));
      t.diagnostic(first.description);
      const last = reports.at(-1);
      assert.ok(last?.kind === 'done' && last.left === 0);
    });
    for (const head of HEADS) {
      for (const way of waysOf(mode)) {
        test(`head ${head}, ${way}`, async (t) => {
          const report = reports.find(
            (one) => one.kind === 'trained' && one.head === head && one.way === way,
          );
          assert.ok(report?.kind === 'trained', 'the page never came to it');
          const got = report.trained;
          const expected = await trainSide(cpuBackend(), { ...TRAINING, head, way });
          const steps = furthest(got.steps, expected.steps);
          const params = furthest(got.params, expected.params);
          const { executor, fallbackReason, plans } = got;
          t.diagnostic(
            `losses and norms off by ${steps}, parameters by ${params}; ${Math.round(report.ms)} ms; ${plans} plans by ${executor}; fallback reason: ${fallbackReason}`,
          );
          assert.equal(got.steps.length, expected.steps.length);
          assert.equal(got.params.length, expected.params.length);
          assert.ok(steps < TRAINED, `losses and norms are off by ${steps}`);
          assert.ok(params < TRAINED, `parameters are off by ${params}`);
          assert.ok((got.steps.at(-2) as number) < got.steps[0] - 0.3, 'the loss falls');
          assert.equal(new Set(got.bytes).size, 1, `memory grew: ${got.bytes}`);
          if (way === 'stepwise') return;
          const due = EXECUTORS[mode];
          assert.equal(executor, due.executor);
          if (due.fallback) assert.match(`${fallbackReason ?? ''}`, due.fallback);
          else assert.equal(fallbackReason, null);
          assert.equal(plans, due.plans, 'another learning rate is no other plan');
        });
      }
    }
  });
}
