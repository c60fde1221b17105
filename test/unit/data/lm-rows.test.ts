import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ColumnNames, loadDataset, loadSplit, type Task } from '../../../src/data/index.ts';

const lines = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join('\n');

/** Reads files out of a record. */
const reading = (files: Readonly<Record<string, string>>) => ({
  readText: async (path: string) => {
    const text = files[path.replace(/^dir\//, '')];
    if (text === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' });
    return text;
  },
});

const load = (files: Record<string, string>, task?: Task, columns: ColumnNames = {}) =>
  loadDataset('dir', { ...reading(files), columns, ...(task && { task }) });

const texts = (n: number) => Array.from({ length: n }, (_, i) => ({ text: `t${i}` }));

describe('data of a language model', () => {
  it('is known by its rows: texts, prompts, conversations', async () => {
    const plain = await load({ 'train.jsonl': lines(texts(20)) });
    assert.deepEqual([plain.task, plain.shape, plain.labels], ['lm', 'text', []]);
    assert.deepEqual([plain.train.length, plain.valid.length, plain.validFromTrain], [18, 2, true]);
    assert.equal(plain.train[0].label, '');

    const prompts = [
      { prompt: 'p', completion: 'c' },
      { prompt: 'q', completion: '' },
    ];
    const asked = await load({ 'train.jsonl': lines(prompts), 'valid.jsonl': lines(prompts) });
    assert.equal(asked.shape, 'prompt');
    assert.deepEqual(asked.train, [
      { text: 'p', label: 'c' },
      { text: 'q', label: '' },
    ]);

    const messages = [{ role: 'user', content: 'hi' }];
    const chat = await load({ 'train.jsonl': lines([{ messages }, { messages }]) });
    assert.equal(chat.shape, 'messages');
    assert.deepEqual(chat.train[0].messages, messages);
  });

  it('comes out of tables, and out of columns of any name', async () => {
    const table = await load({ 'train.csv': 'prompt,completion\np,c\nq,d\n' });
    assert.deepEqual(
      table.train
        .concat(table.valid)
        .map(({ label }) => label)
        .sort(),
      ['c', 'd'],
    );
    const named = await load({ 'train.csv': 'question,answer\np,c\nq,d\n' }, 'lm', {
      text: 'question',
      label: 'answer',
    });
    assert.equal(named.shape, 'prompt');
    // Where nobody names a column for what is to be learnt, the text is, whatever else there is.
    const labelled = await load({ 'train.csv': 'text,label\np,c\nq,d\n' }, 'lm');
    assert.deepEqual([labelled.shape, labelled.train[0].label], ['text', '']);
    const split = await loadSplit('dir', 'test', [], {
      ...reading({ 'test.csv': 'prompt,completion\np,c\n' }),
      shape: 'prompt',
    });
    assert.deepEqual(split, [{ text: 'p', label: 'c' }]);
  });

  const cases: [what: string, files: Record<string, string>, says: RegExp, task?: Task][] = [
    [
      'rows of two shapes',
      { 'train.jsonl': lines([{ prompt: 'p', completion: 'c' }, { text: 'x' }]) },
      /train\.jsonl:2: is not of the shape of other rows, which is \{"prompt", "completion"\}/,
    ],
    [
      'prompts as classes',
      { 'train.jsonl': lines([{ prompt: 'p', completion: 'c' }]) },
      /:1: is a prompt with its completion, which has no class to learn; use --task lm/,
      'classification',
    ],
    [
      'a label that is missing in one row',
      { 'train.jsonl': lines([{ text: 'a', label: 'x' }, { text: 'b' }]) },
      /:2: "label" is missing/,
    ],
    [
      'turns that are none',
      { 'train.jsonl': lines([{ messages: [{ role: 'robot', content: 'x' }] }]) },
      /:1: "messages" must be a list of turns like/,
    ],
    [
      'conversations in a table',
      { 'train.csv': 'messages\n[]\n' },
      /:1: a table holds no conversations; write them as JSON Lines/,
    ],
    ['a prompt alone', { 'train.jsonl': lines([{ prompt: 'p' }]) }, /with a "prompt" goes a "comp/],
  ];
  for (const [what, files, says, task] of cases) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(load(files, task), { code: 'E_DATA', message: says });
    });
  }
});
