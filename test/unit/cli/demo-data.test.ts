import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { demoData, demoTasks } from '../../../src/cli/demo-data.ts';
import { loadDataset } from '../../../src/data/index.ts';
import { readText, sha256File } from '../../../src/platform/node.ts';
import { sharedPath, skipWithoutShared } from '../../support/shared.ts';

/** Lexicographer files in the reference's order of classes, by our names. */
const WORDNET_NAMES = new Map([
  [4, 'act'],
  [5, 'animal'],
  [6, 'artifact'],
  [7, 'attribute'],
  [9, 'cognition'],
  [10, 'communication'],
  [15, 'location'],
  [18, 'person'],
  [20, 'plant'],
  [26, 'state'],
]);

describe('demoData', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mobillm-demo-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  for (const [name, train, test, classes] of [
    ['wordnet10', 1000, 1000, 10],
    ['sentiment', 2432, 551, 2],
  ] as const) {
    it(`makes ${name}, once, and mends it`, async () => {
      const folder = await demoData(name, dir);
      assert.deepEqual((await readdir(folder)).sort(), ['test.jsonl', 'train.jsonl']);
      const dataset = await loadDataset(folder, { readText, validFraction: 0.1 });
      assert.equal(dataset.train.length + dataset.valid.length, train);
      assert.equal(dataset.test?.length, test);
      assert.equal(dataset.labels.length, classes);
      const made = (await stat(join(folder, 'test.jsonl'))).mtimeMs;
      assert.equal(await demoData(name, dir), folder);
      assert.equal((await stat(join(folder, 'test.jsonl'))).mtimeMs, made);
      await writeFile(join(folder, 'test.jsonl'), 'damaged');
      await demoData(name, dir);
      assert.equal(await sha256File(join(folder, 'test.jsonl')), demoTasks[name].sha256.test);
    });

    const skip = skipWithoutShared('oracle', `${name}.json`);
    it(`${name} has the rows of the reference split, in its order`, { skip }, async () => {
      const path = sharedPath('oracle', `${name}.json`) as string;
      const reference = JSON.parse(await readFile(path, 'utf8')) as {
        labels: (string | number)[];
        train: [string, number][];
        test: [string, number][];
      };
      const names = reference.labels.map((label) =>
        typeof label === 'number' ? WORDNET_NAMES.get(label) : label,
      );
      for (const side of ['train', 'test'] as const) {
        const lines = (await readFile(join(dir, name, `${side}.jsonl`), 'utf8')).trimEnd();
        const rows = lines.split('\n').map((line) => JSON.parse(line));
        const expected = reference[side].map(([text, i]) => ({ text, label: names[i] }));
        assert.deepEqual(rows, expected);
      }
    });
  }

  it('refuses an unknown name', async () => {
    await assert.rejects(demoData('toString', dir), {
      code: 'E_USAGE',
      message: /toString is unknown; known are wordnet10, sentiment/,
    });
  });
});
