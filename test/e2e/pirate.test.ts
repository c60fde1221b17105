import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCli, workspace } from '../support/cli.ts';

const space = workspace();
const folder = join(import.meta.dirname, '..', '..', 'examples', 'pirate');

test('the rows of the style that the README tunes are whole, differ, and keep to it', async () => {
  const shown = await runCli(['preprocess', folder, '--model', space.model, '--json']);
  assert.equal(shown.code, 0, shown.stderr);
  const { shape, train, valid } = JSON.parse(shown.stdout).dataset;
  assert.equal(shape, 'prompt');
  assert.deepEqual([train.rows, train.duplicates, train.truncated], [48, 0, 0]);
  assert.deepEqual([valid.rows, valid.alsoInTrain, valid.truncated], [12, 0, 0]);
  for (const part of ['train', 'valid']) {
    const lines = readFileSync(join(folder, `${part}.jsonl`), 'utf8')
      .trim()
      .split('\n');
    for (const line of lines) assert.match(JSON.parse(line).completion, /^Arr, .+, matey!$/);
  }
});
