import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { assertFails, runCli, startCli, workspace } from '../support/cli.ts';
import { tinyFolder } from '../support/tiny-models.ts';

/* `mobillm bench` on tiny models. No figure is asserted: only that each is one, and of what. */

const space = workspace();
after(() => space.remove());

const bench = (...args: string[]) => runCli(['bench', '--model', space.model, ...args]);

test('json tells machine, kernels and every repetition of every test', async () => {
  const { code, stdout, stderr } = await bench(
    ...['-p', '5,33', '-n', '4', '-r', '3', '-t', '1', '-o', 'json'],
  );
  assert.equal(code, 0, stderr);
  const records = JSON.parse(stdout);
  assert.deepEqual(
    records.map(({ test: name, n_tokens }: Record<string, unknown>) => [name, n_tokens]),
    [
      ['pp5', 5],
      ['pp33', 33],
      ['tg4', 4],
    ],
  );
  for (const record of records) {
    assert.ok(record.cpu_info !== '' && record.runtime.startsWith('Node '));
    assert.match(record.kernels, /^gemmQd8F32Qc8w \w+.* \[int8\]$/);
    assert.equal(record.model_filename, space.model);
    assert.equal(record.n_threads, 1);
    assert.equal(record.samples_ts.length, 3);
    for (const rate of [...record.samples_ts, record.avg_ts]) assert.ok(rate > 0);
    assert.ok(record.model_n_params > 0 && record.model_size > 0 && record.peak_rss > 0);
    assert.ok(record.check_first_layer < 0.01 && record.check_end < 0.5);
  }
});

test('a training batch tells the bytes of a sample, in the table and in csv', async () => {
  const args = [
    '--device-step',
    '-b',
    '3',
    '-p',
    '24',
    '-r',
    '2',
    '-t',
    '1',
    '--precision',
    'int4',
  ];
  const [table, csv] = [await bench(...args), await bench(...args, '-o', 'csv')];
  assert.deepEqual([table.code, csv.code], [0, 0], table.stderr + csv.stderr);
  assert.match(table.stdout, /\| +step3x24 \| +[\d.]+ ± [\d.]+ \| +\d+ \|\n/);
  // Half of the file's matrices have 8 bits for a reason and keep them.
  assert.match(table.stdout, /\nkernels: gemmQd8F32Qb4w .* and gemmQd8F32Qc8w .* \[int4\]\n/);
  const [head, row] = csv.stdout.split('\n').map((line) => line.replaceAll('"', '').split(','));
  const field = (name: string) => row[head.indexOf(name)];
  assert.deepEqual([field('test'), field('n_samples')], ['step3x24', '3']);
  // Two layers of three, two rows of 64 values each in 4 bits with a scale in 16: 36 bytes a row.
  assert.ok(Number(field('bytes_per_sample')) >= 2 * 2 * 32);
});

test('-t runs all tests with each number of threads, and says which ran', async () => {
  const { code, stdout, stderr } = await bench('-p', '5', '-n', '2', '-r', '1', '-t', '1,2,2');
  assert.equal(code, 0, stderr);
  const rows = Array.from(stdout.matchAll(/\| wasm \((.*?)\) +\| +(\d) \| +(\w+) \|/g), (match) =>
    match.slice(1).join(),
  );
  const [variant] = rows[0].split(',');
  assert.deepEqual(rows, [
    ...['pp5', 'tg2'].map((name) => `${variant},1,${name}`),
    ...['pp5', 'tg2'].map((name) => `${variant}, 2 threads,2,${name}`),
  ]);
});

test('weights in f32 say which matmul runs; an encoder has no tokens to make', async () => {
  const { path } = tinyFolder('bert');
  const args = ['bench', '--model', path, '-p', '8', '-r', '1', '--precision', 'f32'];
  const { code, stdout, stderr } = await runCli(args);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\| bert 24K f32 \|/);
  assert.match(stdout, /\nkernels: matmul f32 \(wasm/);
  assert.match(stdout, /\nchecked before: a text alone and in a batch are /);
  assert.ok(!stdout.includes('tg'));
  assertFails(await runCli([...args, '-n', '4']), 2, /-n: bert is an encoder/);
});

test('Ctrl-C prints what was measured so far', async () => {
  const args = ['bench', '--model', space.model, '-p', '16', '-n', '4', '-r', '10000000'];
  const running = startCli([...args, '-o', 'json']);
  await running.until(
    'stderr',
    /pp16, test 1 of 2, threads \d+: repetition \d+ of 10000000, [\d.]+ t\/s/,
  );
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.done;
  assert.equal(code, 130);
  assert.ok(
    stderr.endsWith('interrupted: the benchmark stopped; what was measured stands above\n'),
  );
  const records = JSON.parse(stdout);
  assert.equal(records.length, 1);
  assert.ok(records[0].repetitions > 0 && records[0].samples_ts.length === records[0].repetitions);
});

test('what cannot be measured is refused in one line', async () => {
  const cases: [string[], RegExp][] = [
    [['-t', '1,0'], /'-t, --threads <list>' .*auto, or a whole number from 1 to 64/],
    [['-t', '2', '--device-backend', 'cpu'], /--threads: --device-backend cpu computes in one/],
    [['-p', '1000'], /-p: 1000 tokens exceed the model's context of 256/],
    [['-p', 'many'], /'-p, --prompt <lengths>' .*whole numbers/],
    [['-o', 'xml'], /Allowed choices are md, json, csv/],
    [['-r', '0'], /at least 1/],
    [['-b', '4'], /-b: .*--device-step/],
  ];
  await Promise.all(cases.map(async ([args, says]) => assertFails(await bench(...args), 2, says)));
});
