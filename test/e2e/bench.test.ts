import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { type BenchResult, measure } from '../../bench/harness.ts';
import { renderHtml } from '../../bench/html.ts';
import { onBackends, type TensorCase } from '../../bench/tensor-case.ts';
import { neg } from '../../src/tensor/index.ts';
import { runScript } from '../support/run-script.ts';

const RUN = resolve(import.meta.dirname, '..', '..', 'bench', 'run.ts');

test('--json has machine, variant, unit and rate of every case that the filter leaves', async () => {
  const args = ['--quick', '--json', '--filter', '^(rms-norm/cpu/16x|codec/encode/4-bit)'];
  const { code, stdout, stderr } = await runScript(RUN, args);
  assert.deepEqual([code, stderr], [0, '']);
  const { machine, quick, results, failures } = JSON.parse(stdout);
  assert.deepEqual([quick, failures], [true, []]);
  assert.ok(machine.cores >= 1 && /^Node /.test(machine.runtime));
  assert.deepEqual(
    results.map(({ name }: { name: string }) => name),
    ['codec/encode/4-bit/128x576', 'rms-norm/cpu/16x576'],
  );
  for (const { unit, rate, seconds, bytes } of results) {
    assert.equal(unit, 'GB/s');
    assert.ok(rate > 0 && seconds > 0 && bytes === undefined);
  }
});

test('a filter that fits nothing and a flag that is none are told by the exit code', async () => {
  assert.equal((await runScript(RUN, ['--filter', 'nothing'])).code, 1);
  assert.equal((await runScript(RUN, ['--fast'])).code, 2);
});

const MACHINE = { cpu: 'A <CPU>', cores: 2, runtime: 'Node 24', load: 0.5 };

const RESULT: BenchResult = {
  name: 'matmul/nt/wasm/8x8x8',
  variant: 'wasm "relaxed"',
  seconds: 2,
  bestSeconds: 1,
  marginPercent: 1.25,
  samples: 10,
  unit: 'GFLOP/s',
  rate: 10,
  bestRate: 20,
};

test('--html: bars share a scale within a family, and all text is escaped', () => {
  const results = [
    RESULT,
    { ...RESULT, name: 'matmul/nt/cpu/8x8x8', rate: 5, bestRate: 5, marginPercent: null },
    { ...RESULT, name: 'codec/encode', unit: 'GB/s', rate: 1, bestRate: 1 } as const,
  ];
  const html = renderHtml({ machine: MACHINE, quick: false, results, failures: ['bad & <case>'] });
  const widths = Array.from(html.matchAll(/class="bar" [^>]*width="([\d.]+)"/g), (m) =>
    Number(m[1]),
  );
  assert.deepEqual(widths, [210, 105, 420]);
  assert.deepEqual(
    Array.from(html.matchAll(/<h2>(.*)<\/h2>/g), (m) => m[1]),
    ['matmul, GFLOP/s', 'codec, GB/s'],
  );
  assert.ok(html.includes('A &lt;CPU&gt;, 2 cores') && html.includes('bad &amp; &lt;case&gt;'));
  assert.ok(html.includes('wasm &quot;relaxed&quot;, 10 samples, best 20.00 GFLOP/s'));
  assert.ok(html.includes('10.00 GFLOP/s ± 1.3%') && html.includes('>5.00 GFLOP/s<'));
  assert.ok(!/--quick|<script|(?:src|href)=/.test(html));
  const empty = renderHtml({ machine: MACHINE, quick: true, results: [], failures: [] });
  assert.ok(empty.includes('--quick') && !empty.includes('<svg'));
});

test('--html writes the page beside what is printed, and no folder is told before the work', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mobillm-bench-'));
  try {
    const file = join(folder, 'page.html');
    const args = ['--quick', '--filter', '^rms-norm/cpu/16x', '--html'];
    const { code, stdout } = await runScript(RUN, [...args, file]);
    assert.equal(code, 0);
    assert.match(stdout, /1 cases verified and timed, 0 failed\n$/);
    assert.match(
      readFileSync(file, 'utf8'),
      /^<!doctype html>[\s\S]*rms-norm\/cpu\/16x576[\s\S]*<\/html>\n$/,
    );
    const missing = await runScript(RUN, [...args, join(folder, 'missing', 'page.html')]);
    assert.deepEqual([missing.code, missing.stdout], [2, '']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a case that disagrees with its reference is not timed', () => {
  const right: TensorCase = {
    family: 'neg',
    shape: '3',
    work: 24,
    unit: 'GB/s',
    operands: (make) => [make([3], 1)],
    run: ([x]) => neg(x),
    *expected([x]) {
      for (let i = 0; i < 3; i++) yield [i, -x[i]];
    },
  };
  const wrong = {
    ...right,
    *expected() {
      yield [1, 0.5] as const;
    },
  };
  for (const one of onBackends(right)) assert.ok(measure(one, true).rate > 0);
  for (const one of onBackends(wrong)) {
    assert.throws(() => measure(one, true), /neg\/.*\/3: \[1\] is .*, the reference gives 0\.5/);
  }
});
