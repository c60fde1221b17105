import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import { runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';
import { tinyRows } from '../support/tiny-model.ts';

const space = workspace();
after(() => space.remove());

const LABELS = ['low, "really"', 'mittelmäßig', 'high'];
const rows = {
  train: tinyRows(60, { seed: 1, labels: LABELS }),
  test: tinyRows(30, { seed: 2, labels: LABELS }),
};
const COLUMNS = ['--text-column', 'the text', '--label-column', 'class'];

/** The rows as a spreadsheet saves them, in columns of its own. */
function tables(): string {
  const folder = space.path('tables');
  mkdirSync(folder);
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  const csv = rows.train.map(({ text, label }, i) => `${i},${quoted(label)},${quoted(text)}\r\n`);
  writeFileSync(join(folder, 'train.csv'), `\ufeffid,class,the text\r\n${csv.join('')}`);
  const tsv = rows.test.map(({ text, label }) => `${text}\t${label}\n`);
  writeFileSync(join(folder, 'test.tsv'), `the text\tclass\n${tsv.join('')}`);
  return folder;
}

test('a table trains the same adapter as JSON Lines, and eval reads it as train did', async () => {
  const server = await startServer();
  const job = async (data: string, adapter: string, flags: readonly string[] = []) => {
    const { code, stdout, stderr } = await runCli([
      ...['train', '--server', server.url, '--model', space.model, '--data', data, '--json'],
      ...['--adapter-path', adapter, '--no-baselines', ...flags, ...SMALL_JOB],
    ]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout) as TrainReport;
  };
  const folder = tables();
  const adapter = space.path('from-tables');
  const lines = await job(space.data('lines', rows), space.path('from-lines'));
  const table = await job(folder, adapter, COLUMNS);
  await server.stop();
  assert.deepEqual(table.rows, { train: 54, valid: 6, test: 30 });
  assert.deepEqual(table.accuracy, lines.accuracy);
  const weights = (at: string) => readFileSync(join(at, 'adapter_model.safetensors'));
  assert.deepEqual(weights(adapter), weights(lines.adapterPath));
  const { labels } = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'));
  assert.deepEqual(labels, LABELS.toSorted());

  const alone = ['eval', '--data', folder, '--adapter-path', adapter, '--json'];
  const evaluated = await runCli([...alone, ...COLUMNS]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  assert.equal(JSON.parse(evaluated.stdout).accuracy, table.accuracy.side);
  const unnamed = await runCli(alone);
  assert.equal(unnamed.code, 3);
  assert.match(unnamed.stderr, /E_DATA.*test\.tsv:1: no column is called "text"; .* "class"\n$/);
});
