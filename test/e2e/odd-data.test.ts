import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';
import { tinyRows } from '../support/tiny-model.ts';

/* Data that is odd, and right. */

const space = workspace();
after(() => space.remove());

function trainArgs(url: string, name: string, ...flags: string[]): string[] {
  return [
    ...['train', '--server', url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', space.path(name), '--no-baselines', '--json', ...SMALL_JOB, ...flags],
  ];
}

test('labels of any kind, pairs, line ends of another system, long texts, batches of one', async () => {
  const labels = ['fruit, ripe', 'Gemüse 🥕', '<b> "{text}"'];
  const rows = tinyRows(18, { labels }).map((row) => ({ ...row, text_pair: 'and {more}\nof it' }));
  const long = { ...rows[0], text: 'a long text '.repeat(30) };
  const crlf = (list: readonly object[]) =>
    `\ufeff${list.map((row) => `${JSON.stringify(row)}\r\n\r\n`).join('')}`;
  const data = space.data('odd', {
    train: crlf([...rows.slice(0, 12), long]),
    valid: crlf(rows.slice(12, 15)),
    test: crlf([...rows.slice(15), long]),
  });
  const server = await startServer();
  const trained = await runCli(
    trainArgs(
      ...([server.url, 'odd-adapter', '--data', data, '--batch-size', '1'] as const),
      ...['--template', '{labels}?\n{{{text}}} {text_pair}', '--max-seq-length', '100'],
    ),
  );
  await server.stop();
  assert.equal(trained.code, 0, trained.stderr);
  const report = JSON.parse(trained.stdout);
  assert.deepEqual(report.rows, { train: 13, valid: 3, test: 4 });
  assert.equal(report.tokens.truncatedSamples, 2, 'the long row of training and of test');
  const adapter = space.path('odd-adapter');
  const [evaluated, predicted] = await Promise.all([
    runCli(['eval', '--data', data, '--adapter-path', adapter, '--json']),
    runCli(['predict', '--adapter-path', adapter, '--json'], {
      stdin: crlf(rows.slice(15)),
    }),
  ]);
  assert.equal(JSON.parse(evaluated.stdout).accuracy, report.accuracy.side);
  const names = predicted.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).label);
  assert.equal(names.length, 3, predicted.stderr);
  for (const name of names) assert.ok(labels.includes(name), name);
  const card = readFileSync(join(adapter, 'README.md'), 'utf8');
  for (const label of labels) assert.ok(card.includes(label), `the model card lacks ${label}`);
});

test('examples in front of every prompt are not trained on', async () => {
  const server = await startServer();
  const { code, stdout, stderr } = await runCli(
    trainArgs(server.url, 'shots', '--prefix-shots', '3', '--max-seq-length', '40'),
  );
  await server.stop();
  assert.equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  assert.equal(report.rows.train, 54 - 3);
  assert.ok(report.tokens.prefix > 0);
  const evaluated = await runCli([
    ...['eval', '--data', space.tiny, '--adapter-path', space.path('shots'), '--json'],
  ]);
  assert.equal(JSON.parse(evaluated.stdout).accuracy, report.accuracy.side);
});
