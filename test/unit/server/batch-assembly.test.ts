import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchAssembly } from '../../../src/server/batch-assembly.ts';
import { NO_PROGRESS } from '../../../src/server/job-state.ts';
import type { TapsMessage } from '../../../src/transport/index.ts';
import { BATCH, hasCode, JOB, TAPS } from '../../support/transport.ts';

/** Two layers, two kinds of 64 values at 4 bits, batches of 2: five training rows and one to validate. */
const job = { ...JOB, rows: { train: 5, valid: 1 } };
const ROW_BYTES = 2 * 34;

const tile = (over: Partial<TapsMessage>): TapsMessage => {
  const { rowCount = 2 } = over;
  const data = new Uint8Array(ROW_BYTES * rowCount).fill(rowCount);
  return { ...TAPS, kindCount: 2, rowCount, data, ...over };
};
const rowsOf = (count: number) => ({
  rows: Array.from({ length: count }, (_, i) => i),
  labels: Array.from({ length: count }, () => 1),
});

function fresh(): BatchAssembly {
  return new BatchAssembly(job, 2, NO_PROGRESS);
}

test('a batch comes from tiles of any heights, its layers in any order', () => {
  const assembly = fresh();
  assembly.takeTile(tile({ layer: 4, rowCount: 1 }));
  assembly.takeTile(tile({ layer: 2 }));
  assembly.takeTile(tile({ layer: 4, rowStart: 1, rowCount: 1 }));
  const { taps, ...rest } = assembly.takeBatch({ ...BATCH, ...rowsOf(2) });
  assert.deepEqual(rest, { split: 'train', ...rowsOf(2) });
  assert.deepEqual(
    taps.map((bytes) => [bytes.length, bytes[0]]),
    [
      [2 * ROW_BYTES, 2],
      [2 * ROW_BYTES, 1],
    ],
  );
});

test('tiles of any batch but the one that is due are refused, so none stay behind', () => {
  const assembly = fresh();
  const due = (batch: number) => hasCode('E_JOB', new RegExp(`${batch} is due`));
  assert.throws(() => assembly.takeTile(tile({ batch: 1 })), due(0));
  assert.throws(() => assembly.takeBatch({ ...BATCH, batch: 1, ...rowsOf(2) }), due(0));
  for (const layer of [2, 4]) assembly.takeTile(tile({ layer }));
  assembly.takeBatch({ ...BATCH, ...rowsOf(2) });
  assert.throws(() => assembly.takeTile(tile({ batch: 0 })), due(1));
});

test('more rows than a batch has are refused with the first tile', () => {
  const assembly = fresh();
  assembly.takeTile(tile({}));
  const more = tile({ rowStart: 2, rowCount: 1 });
  assert.throws(() => assembly.takeTile(more), hasCode('E_JOB', /3 rows, a batch has 2/));
});

test('a resumed job goes on with the batch that is missing', () => {
  const rows = { train: 4, valid: 0 };
  const assembly = new BatchAssembly(job, 2, { batches: 2, rows });
  for (const layer of [2, 4]) assembly.takeTile(tile({ batch: 2, layer, rowCount: 1 }));
  // Five training rows: the third batch has one.
  assembly.takeBatch({ ...BATCH, batch: 2, ...rowsOf(1) });
  assert.throws(() => assembly.checkComplete(job.rows), hasCode('E_JOB', /0 valid rows came/));
  for (const layer of [2, 4]) assembly.takeTile(tile({ batch: 3, layer, rowCount: 1 }));
  assembly.takeBatch({ ...BATCH, batch: 3, split: 'valid', ...rowsOf(1) });
  assembly.checkComplete(job.rows);
});

test('what does not fit the job is refused', () => {
  const cases: [RegExp, (assembly: BatchAssembly) => unknown][] = [
    [/layer 3, /, (a) => a.takeTile(tile({ layer: 3 }))],
    [/1 kinds from 0/, (a) => a.takeTile(tile({ kindCount: 1 }))],
    [/8 bits/, (a) => a.takeTile(tile({ bits: 8 }))],
    [/row 1 is out of order/, (a) => a.takeTile(tile({ rowStart: 1, rowCount: 1 }))],
    [/taps are not complete/, (a) => a.takeBatch({ ...BATCH, ...rowsOf(2) })],
  ];
  for (const [says, act] of cases) assert.throws(() => act(fresh()), hasCode('E_JOB', says));
  const whole = (batch: object) => {
    const assembly = fresh();
    for (const layer of [2, 4]) assembly.takeTile(tile({ layer }));
    return () => assembly.takeBatch({ ...BATCH, ...rowsOf(2), ...batch });
  };
  assert.throws(whole({ labels: [0, 2] }), hasCode('E_JOB', /label 2 is/));
  assert.throws(whole({ labels: [0, 0.5] }), hasCode('E_JOB', /label 0\.5 is no class below 2/));
  assert.throws(whole({ split: 'valid' }), hasCode('E_JOB', /2 valid rows where 1 were due/));
});

test('labels of a regression are any numbers', () => {
  const assembly = new BatchAssembly({ ...job, task: { kind: 'regression' } }, 2, NO_PROGRESS);
  for (const layer of [2, 4]) assembly.takeTile(tile({ layer }));
  const labels = [-1.25, 1e-9];
  assert.deepEqual(assembly.takeBatch({ ...BATCH, ...rowsOf(2), labels }).labels, labels);
});

test('rows of a language model send as many tokens as they count', () => {
  const head = { sha256: 'ab'.repeat(32), bytes: 100 };
  const lm = { ...job, task: { kind: 'lm', vocab: 9, maxTokens: 3, head } } as const;
  const whole = (batch: object, rowCount = 4) => {
    const assembly = new BatchAssembly(lm, 2, NO_PROGRESS);
    for (const layer of [2, 4]) assembly.takeTile(tile({ layer, rowCount }));
    return () =>
      assembly.takeBatch({
        ...BATCH,
        rows: [0, 1],
        counts: [1, 3],
        labels: [0, 8, 1, 2],
        ...batch,
      });
  };
  const { taps, ...rest } = whole({})();
  assert.deepEqual(rest, { split: 'train', rows: [0, 1], counts: [1, 3], labels: [0, 8, 1, 2] });
  assert.equal(taps[0].length, 4 * ROW_BYTES);
  assert.throws(whole({ labels: [0, 9, 1, 2] }), hasCode('E_JOB', /label 9 is no token below 9/));
  assert.throws(whole({ counts: [4], rows: [0] }), hasCode('E_JOB', /a row of 4 tokens, 3 are/));
  assert.throws(whole({ counts: undefined }), hasCode('E_JOB', /tokens are counted/));
  assert.throws(() => whole({}, 7), hasCode('E_JOB', /7 rows, a batch has 6/));
  const counted = fresh();
  for (const layer of [2, 4]) counted.takeTile(tile({ layer }));
  const batch = { ...BATCH, ...rowsOf(2), counts: [1, 1] };
  assert.throws(() => counted.takeBatch(batch), hasCode('E_JOB', /for it alone/));
});
