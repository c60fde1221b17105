import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { type BenchResult, measure } from '../../bench/harness.ts';
import { renderHtml } from '../../bench/html.ts';
import { rooflineOf } from '../../bench/roofline.ts';
import { onBackends, type TensorCase } from '../../bench/tensor-case.ts';
import { neg } from '../../src/tensor/index.ts';
import { runScript } from '../support/run-script.ts';

const RUN = resolve(import.meta.dirname, '..', '..', 'bench', 'run.ts');

test('--json has machine, ceilings, variant and rates of every case that the filter leaves', async () => {
  const args = ['--quick', '--json', '--filter', '^(rms-norm/cpu/16x|codec/encode/4-bit)'];
  const { code, stdout, stderr } = await runScript(RUN, args);
  assert.deepEqual([code, stderr], [0, '']);
  const { machine, ceilings, quick, results, failures } = JSON.parse(stdout);
  assert.deepEqual([quick, failures], [true, []]);
  assert.ok(machine.cores >= 1 && /^Node /.test(machine.runtime));
  assert.deepEqual(
    results.map(({ name }: { name: string }) => name),
    ['codec/encode/4-bit/128x576', 'rms-norm/cpu/16x576'],
  );
  assert.ok(ceilings.gops['i16 dot'] > 0 && ceilings.bandwidths.length === 2);
  for (const { gops, gbs, seconds, peakShare, roofShare } of results) {
    assert.deepEqual([gops, peakShare], [null, null]);
    assert.ok(gbs > 0 && seconds > 0 && roofShare > 0);
  }
});

test('what takes long runs by --all or by a filter that names it, never by --quick', async () => {
  const listed = async (...args: string[]) =>
    (await runScript(RUN, ['--list', ...args])).stdout.trim().split('\n');
  const [usual, all] = [await listed(), await listed('--all')];
  assert.ok(usual.length > 100 && all.length > 2 * usual.length);
  assert.ok(usual.every((name) => all.includes(name)));
  const heavy = 'matmul/nt/cpu/square/128x2048x2048';
  assert.deepEqual([usual.includes(heavy), all.includes(heavy)], [false, true]);
  assert.deepEqual(await listed('--filter', 'nt/cpu/square/128x'), [heavy]);
  assert.deepEqual(await listed('--quick', '--filter', 'nt/cpu/square/128x'), ['']);
  assert.ok(all.some((name) => name.includes('/llama-3.2-1b.down/128x8192x2048')));
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
  gops: 10,
  bestGops: 20,
  gbs: 1,
  bestGbs: 2,
  intensity: 10,
  arithmetic: 'f32 mul, add',
  peakShare: 0.5,
  roofShare: 0.5,
};

/** A case that only moves memory. */
const MOVED = { ...RESULT, gops: null, bestGops: null, intensity: null, arithmetic: null } as const;

const CEILINGS = {
  peaks: new Map([['f32 mul, add', 40]] as const),
  bandwidths: [{ bytes: 2 ** 20, gbs: 5 }],
};

test('--html: bars share a scale within a family, and all text is escaped', () => {
  const results = [
    RESULT,
    { ...RESULT, name: 'matmul/nt/cpu/8x8x8', gops: 5, bestGops: 5, marginPercent: null },
    { ...MOVED, name: 'codec/encode', gbs: 1, bestGbs: 1, peakShare: null },
  ];
  const failures = ['bad & <case>'];
  const html = renderHtml({ machine: MACHINE, quick: false, ...CEILINGS, results, failures });
  const widths = Array.from(html.matchAll(/class="bar" [^>]*width="([\d.]+)"/g), (m) =>
    Number(m[1]),
  );
  assert.deepEqual(widths, [210, 105, 420]);
  assert.deepEqual(
    Array.from(html.matchAll(/<h2>(.*)<\/h2>/g), (m) => m[1]),
    ['Roofline: GOP/s over operations a byte', 'matmul, GOP/s', 'codec, GB/s'],
  );
  assert.ok(html.includes('A &lt;CPU&gt;, 2 cores') && html.includes('bad &amp; &lt;case&gt;'));
  assert.ok(html.includes('wasm &quot;relaxed&quot;, 10 samples, best 20.00 GOP/s, 50% of its'));
  assert.ok(html.includes('10.00 GOP/s ± 1.3%') && html.includes('>5.00 GOP/s<'));
  assert.ok(!/--quick|<script|(?:src|href)=/.test(html));
  const empty = renderHtml({
    ...{ machine: MACHINE, quick: true, ...CEILINGS },
    ...{ results: [], failures: [] },
  });
  assert.ok(empty.includes('--quick') && !empty.includes('<svg'));
});

test('the roofline: a point lies below its level, which lies at the ceiling', () => {
  const page = { machine: MACHINE, quick: false, ...CEILINGS, failures: [] };
  const html = rooflineOf({ ...page, results: [RESULT] }).join('');
  const level = Number(/class="roof"[^>]*y1="([\d.]+)"/.exec(html)?.[1]);
  const point = Number(/<circle[^>]*cy="([\d.]+)"/.exec(html)?.[1]);
  assert.ok(level > 0 && point > level);
  assert.deepEqual(rooflineOf({ ...page, results: [MOVED] }), []);
});

test('--html writes the page beside what is printed, and no folder is told before the work', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mobillm-bench-'));
  try {
    const file = join(folder, 'page.html');
    const args = ['--quick', '--filter', '^rms-norm/cpu/16x', '--html'];
    const { code, stdout } = await runScript(RUN, [...args, file]);
    assert.equal(code, 0);
    assert.match(stdout, /1 cases verified and timed in 0:0\d, 0 failed\n$/);
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

test('a case that disagrees with its reference is not timed', async () => {
  const right: TensorCase = {
    family: 'neg',
    shape: '3',
    ops: 0,
    bytes: 24,
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
  for (const one of onBackends(right)) assert.ok((await measure(one, true)).gbs > 0);
  for (const one of onBackends(wrong)) {
    await assert.rejects(measure(one, true), /neg\/.*\/3: \[1\] is .*, the reference gives 0\.5/);
  }
});
