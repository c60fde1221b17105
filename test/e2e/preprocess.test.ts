import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { assertFails, runCli, workspace } from '../support/cli.ts';
import { tinyRows } from '../support/tiny-model.ts';

const space = workspace();
after(() => space.remove());

const args = (...flags: string[]) => [
  ...['preprocess', space.tiny, '--model', space.model, '--template', '{text}:'],
  ...['--layers', '2,3', ...flags],
];

test('shows prompts, tokens and which of them are sent', async () => {
  const { code, stdout, stderr } = await runCli(args('--debug', '--json', '--samples', '2'));
  assert.equal(code, 0, stderr);
  const shown = JSON.parse(stdout);
  assert.equal(shown.dataset.train.rows, 54);
  assert.deepEqual(
    [shown.layers, shown.taps],
    [
      [2, 3],
      ['last', 'mean'],
    ],
  );
  assert.equal(shown.samples.length, 2);
  for (const { prompt, tokens, ids, sent, truncated, label } of shown.samples) {
    assert.equal(tokens.join(''), prompt[0]);
    assert.match(prompt[0], /^[a-x ]+:$/);
    assert.equal(tokens.length, ids.length);
    assert.deepEqual(sent, { last: [ids.length - 1], mean: [...ids.keys()] });
    assert.equal(truncated, false);
    assert.ok(['low', 'middle', 'high'].includes(label));
  }
  // Rows of two kinds of 64 values in 4 bits, for two layers, and their frames.
  assert.ok(shown.traffic.perSample > 2 * 2 * 34 && shown.traffic.perSample < 2 * 2 * 34 + 20);
});

test('in words: totals alone, and samples with --debug; what is cut is marked', async () => {
  const [totals, samples] = await Promise.all([
    runCli(args()),
    runCli(args('--debug', '--samples', '1', '--max-seq-length', '8', '--taps', 'first,last')),
  ]);
  assert.equal(totals.code, 0, totals.stderr);
  assert.match(totals.stdout, /^data: 54 train, 6 valid, 30 test rows, 3 classes\n/);
  assert.match(
    totals.stdout,
    /\nsent: last and mean of layers 2 3, 4 bits a value: \d+ B a sample/,
  );
  assert.doesNotMatch(totals.stdout, /prompt/);
  assert.equal(samples.code, 0, samples.stderr);
  assert.match(samples.stdout, /cut to --max-seq-length 8: 54 of train, 6 of valid, 30 of test\n/);
  assert.match(samples.stdout, /train \d+, label \w+, 8 tokens, cut\n {2}prompt ".*:"\n/);
  assert.match(samples.stdout, /sent of each of 2 layers: first = token 0, last = token 7\n/);
  assert.match(samples.stdout, /\n {5}7 +\d+ {2}\* ":"\n$/);
  assert.equal(samples.stdout.match(/\* "/g)?.length, 2);
});

test('parts that are folders of files, with the line ends of another system', async () => {
  const folder = space.path('parts');
  mkdirSync(join(folder, 'train'), { recursive: true });
  const lines = tinyRows(20).map(({ text, label }) => `${text},"${label}, ""so to say"""`);
  for (const [i, name] of ['a.csv', 'b.csv'].entries()) {
    const part = ['text,label', ...lines.slice(10 * i, 10 * i + 10)];
    writeFileSync(join(folder, 'train', name), `\ufeff${part.join('\r\n')}\r\n\r\n`);
  }
  writeFileSync(join(folder, 'test.tsv'), 'text\tlabel\r\nabcd\tlow, "so to say"\r\n');
  const { code, stdout, stderr } = await runCli([
    ...['preprocess', folder, '--model', space.model, '--json'],
  ]);
  assert.equal(code, 0, stderr);
  const { classes, train, valid, test: tested } = JSON.parse(stdout).dataset;
  assert.deepEqual(
    classes.map(({ label }: { label: string }) => label),
    ['high', 'low', 'middle'].map((label) => `${label}, "so to say"`),
  );
  assert.equal(train.rows + valid.rows, 20);
  assert.equal(tested.rows, 1);
  writeFileSync(join(folder, 'train', 'b.csv'), 'text,label\r\nx,low\r\ny,\r\n');
  const empty = await runCli(['preprocess', folder, '--model', space.model]);
  assertFails(empty, 3, /E_DATA.*train\/b\.csv:3: "label" is empty; name a class/);
});

test('a configuration file serves it, too; what is wrong is one line', async () => {
  const file = space.path('run.yaml');
  writeFileSync(file, `model: ${space.model}\ntemplate: "{text}?"\nepochs: 3\ntaps: [first]\n`);
  const configured = await runCli(['preprocess', space.tiny, '--config', file, '--json']);
  assert.equal(configured.code, 0, configured.stderr);
  const { template, taps } = JSON.parse(configured.stdout);
  assert.deepEqual([template, taps], ['{text}?', ['first']]);
  const alone = space.data('alone', { train: tinyRows(30) });
  const other = ['preprocess', alone, '--model', space.model, '--debug', '--split', 'test'];
  assertFails(
    await runCli(other.filter((arg) => arg !== '--debug').concat('--layers', 'x')),
    2,
    /--layers/,
  );
  const missing = await runCli(other);
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /--split: .*alone has no test part/);
});
