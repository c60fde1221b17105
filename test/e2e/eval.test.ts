import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import { assertFails, runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';

const space = workspace();
let report: TrainReport;
const adapter = space.path('adapter');
const evalArgs = ['eval', '--data', space.tiny, '--adapter-path', adapter];

before(async () => {
  const server = await startServer();
  const trained = await runCli([
    ...['train', '--server', server.url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', adapter, '--json', ...SMALL_JOB],
  ]);
  await server.stop();
  assert.equal(trained.code, 0, trained.stderr);
  report = JSON.parse(trained.stdout);
});
after(() => space.remove());

test('the figures of the report again, every class, every confusion, and a picture', async () => {
  const picture = space.path('made/confusion.svg');
  const [json, text] = await Promise.all([
    runCli([...evalArgs, '--json', '--confusion', picture]),
    runCli(evalArgs),
  ]);
  assert.equal(json.code, 0, json.stderr);
  const { classes, confusion, accuracy, correct, macroF1, matthews, rows } = JSON.parse(
    json.stdout,
  );
  assert.deepEqual({ accuracy, correct, macroF1, matthews, rows }, report.test.parallel);
  assert.deepEqual(Object.keys(report.test), ['parallel', 'probe', 'mix']);
  assert.deepEqual(
    classes.map((one: { label: string; rows: number }) => [one.label, one.rows]),
    ['high', 'low', 'middle'].map((label) => [label, 10]),
  );
  const hits = confusion.filter((cell: Record<string, string>) => cell.label === cell.predicted);
  assert.equal(
    hits.reduce((n: number, cell: { rows: number }) => n + cell.rows, 0),
    correct,
  );
  const svg = readFileSync(picture, 'utf8');
  assert.match(svg, /^<svg .*<\/svg>\n$/s);
  assert.ok(svg.includes(`macro-F1 ${macroF1.toFixed(3)}`));
  assert.equal(text.code, 0, text.stderr);
  assert.ok(text.stdout.includes(`(${correct} of 30), macro-F1 ${macroF1.toFixed(3)}, Matthews`));
  assert.match(text.stdout, /│ label \\ predicted │ high │ low │ middle │/);
  const { metrics } = JSON.parse(readFileSync(`${adapter}/adapter_config.json`, 'utf8'));
  assert.equal(metrics.test_macro_f1, macroF1);
});

test('a picture that cannot be written fails before anything runs', async () => {
  const result = await runCli([...evalArgs, '--confusion', `${space.model}/x.svg`, '--json']);
  assertFails(result, 2, /E_FILE.*--confusion: .*tiny\.gguf: is a file, not a folder/);
});
