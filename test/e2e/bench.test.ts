import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { test } from 'node:test';
import { measure } from '../../bench/harness.ts';
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
