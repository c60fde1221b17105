import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { labelSet, loadDataset, loadSamples, loadSplit } from '../../../src/data/index.ts';
import { UsageError } from '../../../src/tensor/errors.ts';

type Line = { text?: string; text_pair?: string; label: string | number };
const rows = (...labels: (string | number)[]): Line[] =>
  labels.map((label, i) => ({ text: `text ${i}`, label }));

function folder(files: Record<string, Line[] | string>) {
  return async (path: string) => {
    const file = files[path.replace('dir/', '')];
    if (file === undefined) throw new UsageError(`read: ${path}: no such file`, 'E_NOT_FOUND');
    return typeof file === 'string' ? file : file.map((row) => JSON.stringify(row)).join('\n');
  };
}

describe('loadDataset', () => {
  it('loads three files; classes are those of training, sorted', async () => {
    const readText = folder({
      'train.jsonl': rows('b', 'a', 'b'),
      'valid.jsonl': rows('a'),
      'test.jsonl': rows('b', 'b'),
    });
    const dataset = await loadDataset('dir/', { readText });
    assert.deepEqual(dataset, {
      folder: 'dir/',
      task: 'classification',
      labels: ['a', 'b'],
      pairs: false,
      train: [
        { text: 'text 0', label: 'b' },
        { text: 'text 1', label: 'a' },
        { text: 'text 2', label: 'b' },
      ],
      valid: [{ text: 'text 0', label: 'a' }],
      validFromTrain: false,
      test: [
        { text: 'text 0', label: 'b' },
        { text: 'text 1', label: 'b' },
      ],
    });
  });

  it('takes validation rows out of training where there is no valid.jsonl', async () => {
    const labels = Array.from({ length: 40 }, (_, i) => (i % 4 === 0 ? 'rare' : 'common'));
    const readText = folder({ 'train.jsonl': rows(...labels) });
    const dataset = await loadDataset('dir', { readText, validFraction: 0.2, seed: 1 });
    assert.equal(dataset.test, undefined);
    assert.equal(dataset.validFromTrain, true);
    assert.equal(dataset.valid.filter(({ label }) => label === 'rare').length, 2);
    assert.equal(dataset.valid.length, 8);
    const all = [...dataset.train, ...dataset.valid].map(({ text }) => text);
    assert.equal(new Set(all).size, 40);
  });

  it('keeps pairs', async () => {
    const pairs = [
      { text: 'a', text_pair: 'b', label: 1 },
      { text: 'c', text_pair: 'd', label: 0 },
    ];
    const readText = folder({ 'train.jsonl': pairs, 'valid.jsonl': pairs });
    const dataset = await loadDataset('dir', { readText });
    assert.equal(dataset.pairs, true);
    assert.deepEqual(dataset.train[0], { text: 'a', textPair: 'b', label: '1' });
  });

  it('takes each part in any format, and columns by name', async () => {
    const readText = folder({
      'train.csv': 'q,c\na,x\n"b, c",y\n',
      'valid.tsv': 'c\tq\nx\td\n',
      'test.jsonl': '{"q": "e", "c": "y"}',
    });
    const columns = { text: 'q', label: 'c' };
    const dataset = await loadDataset('dir', { readText, columns });
    assert.deepEqual(dataset.labels, ['x', 'y']);
    assert.deepEqual(dataset.train[1], { text: 'b, c', label: 'y' });
    assert.deepEqual(dataset.valid, [{ text: 'd', label: 'x' }]);
    assert.deepEqual(dataset.test, [{ text: 'e', label: 'y' }]);
  });

  /** As `folder`, and the names in each folder of those files. */
  function folders(files: Record<string, Line[] | string>) {
    const listFiles = async (path: string) => {
      const inside = Object.keys(files).filter((file) => `dir/${file}`.startsWith(`${path}/`));
      return inside.length === 0 ? undefined : inside.map((file) => file.split('/')[1]).reverse();
    };
    return { readText: folder(files), listFiles };
  }

  it('takes a part from a folder of files, in the order of their names', async () => {
    const files = {
      'train/b.jsonl': rows('b'),
      'train/a.csv': 'text,label\nx,a\ny,b\n',
      'train/notes.md': 'not data',
      'test/1.tsv': 'text\tlabel\nz\ta\n',
      'valid.jsonl': rows('b'),
    };
    const dataset = await loadDataset('dir', folders(files));
    assert.deepEqual(
      dataset.train.map(({ text }) => text),
      ['x', 'y', 'text 0'],
    );
    assert.deepEqual(dataset.test, [{ text: 'z', label: 'a' }]);
    const test = await loadSplit('dir', 'train', ['a', 'b'], folders(files));
    assert.equal(test.length, 3);
    for (const [more, message] of [
      [{ 'train.csv': 'text,label\n' }, /dir\/train: dir\/train\.csv is there as well/],
      [{ 'test/1.tsv': 'text\tlabel\nz\tc\n' }, /dir\/test\/1\.tsv:2: label "c" was not/],
      [{ 'train/c.jsonl': '' }, /dir\/train\/c\.jsonl: has no rows/],
    ] as const) {
      const loading = loadDataset('dir', folders({ ...files, ...more }));
      await assert.rejects(loading, { code: 'E_DATA', message });
    }
    await assert.rejects(loadDataset('dir', folders({ 'train/notes.md': '' })), {
      code: 'E_DATA',
      message: /dir\/train: holds no file that ends in \.jsonl, \.csv, \.tsv/,
    });
  });

  it('takes all training rows from one file', async () => {
    const readText = folder({ 'rows.csv': 'text,label\na,x\nb,y\nc,x\nd,y\n' });
    const dataset = await loadDataset('dir/rows.csv', { readText });
    assert.deepEqual([dataset.train.length, dataset.valid.length], [2, 2]);
    assert.deepEqual([dataset.test, dataset.validFromTrain], [undefined, true]);
    const rows = await loadSplit('dir/rows.csv', 'test', ['x', 'y'], { readText });
    assert.equal(rows.length, 4);
    await assert.rejects(loadDataset('dir/none.csv', { readText }), { code: 'E_NOT_FOUND' });
  });

  it('takes labels as numbers where that is what they are, or what is asked for', async () => {
    const readText = folder({
      'train.jsonl': rows(...Array.from({ length: 20 }, (_, i) => i / 4)),
      'test.jsonl': rows(99.5, '1e1'),
    });
    const dataset = await loadDataset('dir', { readText });
    assert.deepEqual([dataset.task, dataset.labels], ['regression', []]);
    assert.deepEqual([dataset.train.length, dataset.valid.length], [18, 2]);
    const asked = await loadDataset('dir', {
      readText: folder({ 'train.jsonl': rows(1, 2, 3) }),
      task: 'regression',
    });
    assert.equal(asked.task, 'regression');
    const classes = folder({ 'train.jsonl': rows(1.5, 2.5, 3.5, 1.5, 2.5, 3.5) });
    assert.equal(
      (await loadDataset('dir', { readText: classes, task: 'classification' })).labels.length,
      3,
    );
    for (const [files, message] of [
      [
        { 'train.jsonl': rows(1, 'two') },
        /train\.jsonl:2: label "two" is no number, .* --task classification/,
      ],
      [
        { 'train.jsonl': rows(1, 2), 'test.jsonl': rows('NaN') },
        /test\.jsonl:1: label "NaN" is no number/,
      ],
      [
        { 'train.jsonl': rows('1', '1.0') },
        /all 2 rows have the label "1(\.0)?"; at least two numbers/,
      ],
    ] as const) {
      const loading = loadDataset('dir', { readText: folder(files as never), task: 'regression' });
      await assert.rejects(loading, { code: 'E_DATA', message });
    }
    const split = loadSplit('dir', 'test', [], {
      readText: folder({ 'test.jsonl': rows(1, 'x') }),
    });
    await assert.rejects(split, {
      code: 'E_DATA',
      message: /test\.jsonl:2: label "x" is no number/,
    });
  });

  const train = rows('a', 'b');
  const cases: [string, Record<string, Line[] | string>, RegExp][] = [
    [
      'no train.jsonl',
      {},
      /dir\/train\.jsonl: not found, nor is there train\.csv or train\.tsv; a data folder/,
    ],
    [
      'two files for one part',
      { 'train.jsonl': train, 'train.tsv': 'text\tlabel\na\tx\n' },
      /dir\/train\.tsv: dir\/train\.jsonl is there as well; remove one/,
    ],
    ['an empty file', { 'train.jsonl': '' }, /train\.jsonl: has no rows/],
    ['an empty test', { 'train.jsonl': train, 'test.jsonl': '\n' }, /test\.jsonl: has no rows/],
    ['one class', { 'train.jsonl': rows('a', 'a') }, /all 2 rows have the label "a"; at least two/],
    [
      'a label unseen in training',
      { 'train.jsonl': train, 'test.jsonl': rows('a', 'c') },
      /test\.jsonl:2: label "c" was not seen in training; known are a, b; correct/,
    ],
    [
      'a label unseen among many',
      { 'train.jsonl': rows(...Array(20).keys()), 'valid.jsonl': rows('x') },
      /valid\.jsonl:1: label "x" .* known are 0, 1, 2, .*, 11 and 8 more;/,
    ],
    [
      'pairs on some rows',
      { 'train.jsonl': [...train, { text: 'c', text_pair: 'd', label: 'a' }] },
      /train\.jsonl:3: "text_pair" is there, other rows have none/,
    ],
    [
      'pairs in training alone',
      { 'train.jsonl': train.map((row) => ({ ...row, text_pair: 'p' })), 'test.jsonl': train },
      /test\.jsonl:1: "text_pair" is missing, other rows have one/,
    ],
  ];
  for (const [what, files, message] of cases) {
    it(`refuses ${what}`, async () => {
      const loading = loadDataset('dir', { readText: folder(files) });
      await assert.rejects(loading, { code: 'E_DATA', message });
    });
  }

  it('passes on what reading fails with, unless the file is only missing', async () => {
    const denied = new UsageError('read: denied', 'E_NO_ACCESS');
    const readText = () => Promise.reject(denied);
    await assert.rejects(loadDataset('dir', { readText }), denied);
  });
});

describe('labelSet', () => {
  it('sorts by value where all are whole numbers, else by code units, whatever the row order', () => {
    const of = (...labels: string[]) => labelSet(labels.map((label) => ({ label })));
    assert.deepEqual(of('10', '9', '-1', '9'), ['-1', '9', '10']);
    assert.deepEqual(of('10', '9', 'x'), ['10', '9', 'x']);
    assert.deepEqual(of('b', 'B', 'a', '__proto__'), ['B', '__proto__', 'a', 'b']);
  });
});

describe('loadSamples', () => {
  it('holds one file against given labels', async () => {
    const readText = folder({ 'test.jsonl': rows('a', 'b') });
    assert.equal((await loadSamples('dir/test.jsonl', ['a', 'b'], readText)).length, 2);
    await assert.rejects(loadSamples('dir/test.jsonl', ['a'], readText), {
      code: 'E_DATA',
      message: /test\.jsonl:2: label "b"/,
    });
    await assert.rejects(loadSamples('dir/none.jsonl', ['a'], readText), { code: 'E_NOT_FOUND' });
  });
});

describe('loadSplit', () => {
  it('finds the file by its name, whatever the format', async () => {
    const readText = folder({ 'test.csv': 'text,label\na,x\nb,y\n' });
    const rows = await loadSplit('dir/', 'test', ['x', 'y'], { readText });
    assert.deepEqual(rows, [
      { text: 'a', label: 'x' },
      { text: 'b', label: 'y' },
    ]);
    await assert.rejects(loadSplit('dir', 'test', ['x'], { readText }), {
      code: 'E_DATA',
      message: /dir\/test\.csv:3: label "y" was not seen in training/,
    });
    await assert.rejects(loadSplit('dir', 'dev', ['x'], { readText }), {
      code: 'E_NOT_FOUND',
      message: 'data: dir/dev.jsonl: not found, nor is there dev.csv or dev.tsv',
    });
  });
});
