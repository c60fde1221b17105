import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  chooseShots,
  epochBatches,
  parseRows,
  renderTemplate,
  stratifiedSplit,
} from '../../../src/data/index.ts';
import { FormatError } from '../../../src/tensor/errors.ts';

const count = fc.oneof(fc.constantFrom(0, 1, 2, 7, 8, 9, 31, 32, 33), fc.nat(200));
const seed = fc.integer();
const ascending = (rows: Iterable<number>) => [...rows].sort((a, b) => a - b);
const all = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('epochBatches', () => {
  const options = fc.record({
    count,
    batchSize: fc.oneof(fc.constantFrom(1, 2, 7, 8, 9), fc.integer({ min: 1, max: 64 })),
    seed,
    epoch: fc.nat(10),
    window: fc.integer({ min: 1, max: 9 }),
  });
  const bucketed = (o: { count: number }) => ({
    ...o,
    lengths: all(o.count).map((i) => (i * 37) % 101),
  });

  it('holds each row exactly once, in full batches but one, the same every time', () => {
    fc.assert(
      fc.property(options, fc.boolean(), (plain, sorted) => {
        const o = sorted ? { ...plain, ...bucketed(plain) } : plain;
        const batches = epochBatches(o);
        assert.deepEqual(ascending(batches.flat()), all(o.count));
        assert.equal(batches.length, Math.ceil(o.count / o.batchSize));
        assert.ok(batches.filter(({ length }) => length !== o.batchSize).length <= 1);
        assert.deepEqual(epochBatches(o), batches);
      }),
    );
  });

  it('orders epochs and seeds differently, and evens out lengths', () => {
    const base = { count: 64, batchSize: 8, seed: 1, epoch: 0 };
    const flat = (o: object) =>
      epochBatches({ ...base, ...o })
        .flat()
        .join();
    assert.notEqual(flat({}), flat({ epoch: 1 }));
    assert.notEqual(flat({}), flat({ seed: 2 }));
    assert.notEqual(flat({ seed: 0, epoch: 1 }), flat({ seed: 1, epoch: 0 }));
    const { lengths } = bucketed(base);
    const padding = (batches: number[][]) =>
      batches.reduce(
        (sum, rows) => sum + rows.length * Math.max(...rows.map((i) => lengths[i])),
        0,
      );
    assert.ok(padding(epochBatches({ ...base, lengths })) < padding(epochBatches(base)));
  });

  it('refuses sizes that are none', () => {
    for (const bad of [{ batchSize: 0 }, { batchSize: 1.5 }, { window: 0 }, { lengths: [1] }]) {
      const o = { count: 3, batchSize: 1, seed: 0, epoch: 0, ...bad };
      assert.throws(() => epochBatches(o), { code: 'E_USAGE' });
    }
  });

  it('is close to uniform: every row comes first about equally often', () => {
    const firsts = new Array<number>(8).fill(0);
    for (let epoch = 0; epoch < 4000; epoch++) {
      firsts[epochBatches({ count: 8, batchSize: 1, seed: 3, epoch })[0][0]]++;
    }
    // Mean 500, standard deviation 21: 6 of them keep a fixed sequence from ever failing by luck.
    for (const hits of firsts) assert.ok(Math.abs(hits - 500) < 6 * 21, `${firsts}`);
  });
});

describe('stratifiedSplit', () => {
  const labels = fc.array(fc.constantFrom('a', 'b', 'c', '__proto__'), { maxLength: 120 });
  const fraction = fc.integer({ min: 1, max: 99 }).map((percent) => percent / 100);

  it('holds each row exactly once, each class in proportion, deterministic', () => {
    fc.assert(
      fc.property(labels, fraction, seed, (rows, part, s) => {
        const split = stratifiedSplit(rows, part, s);
        assert.deepEqual(ascending([...split.train, ...split.valid]), all(rows.length));
        assert.deepEqual(split.train, ascending(split.train));
        assert.deepEqual(split.valid, ascending(split.valid));
        assert.deepEqual(stratifiedSplit(rows, part, s), split);
        for (const label of new Set(rows)) {
          const n = rows.filter((row) => row === label).length;
          const valid = split.valid.filter((i) => rows[i] === label).length;
          if (n === 1) assert.equal(valid, 0);
          else {
            assert.ok(valid >= 1 && valid < n);
            assert.ok(Math.abs(valid - part * n) <= 1, `${valid} of ${n} at ${part}`);
          }
        }
      }),
    );
  });

  it('refuses a fraction that is none', () => {
    for (const part of [0, 1, -1, Number.NaN]) {
      assert.throws(() => stratifiedSplit(['a'], part, 0), { code: 'E_USAGE' });
    }
  });
});

describe('chooseShots', () => {
  it('chooses distinct rows, as even over classes as they allow', () => {
    const label = fc.constantFrom('a', 'b', 'c');
    const row = fc.record({ text: fc.string(), label });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), fc.nat(45), seed, (rows, wanted, s) => {
        const shots = chooseShots(rows, wanted, s);
        assert.equal(shots.length, Math.min(wanted, rows.length));
        assert.equal(new Set(shots).size, shots.length);
        const chosen = (name: string) => shots.filter((shot) => shot.label === name).length;
        const most = Math.max(0, ...['a', 'b', 'c'].map(chosen));
        for (const name of ['a', 'b', 'c']) {
          const there = rows.filter((shot) => shot.label === name).length;
          assert.ok(chosen(name) >= Math.min(there, most - 1));
        }
      }),
    );
  });
});

describe('texts from outside', () => {
  it('renders any text verbatim', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(text, text, (a, b) => {
        const braced = b.replaceAll('{', '{{').replaceAll('}', '}}');
        assert.equal(renderTemplate(`${braced}{text}`, { text: a, labels: [] }), b + a);
      }),
    );
  });

  it('reads back any rows, and refuses any other text with E_DATA', () => {
    const row = fc.record({
      text: fc.string({ unit: 'binary', minLength: 1 }),
      label: fc.integer(),
    });
    fc.assert(
      fc.property(fc.array(row), fc.constantFrom('\n', '\r\n', '\n\n'), (rows, end) => {
        const kept = rows.filter(({ text }) => text.trim() !== '');
        const source = kept.map((r) => JSON.stringify(r) + end).join('');
        assert.deepEqual(
          parseRows(source, 'f').map(({ text, label }) => ({ text, label })),
          kept.map(({ text, label }) => ({ text, label: String(label) })),
        );
      }),
    );
    const anything = fc.oneof(fc.string({ unit: 'binary' }), fc.json());
    fc.assert(
      fc.property(anything, (source) => {
        try {
          parseRows(source, 'f');
        } catch (error) {
          assert.ok(error instanceof FormatError && error.code === 'E_DATA', String(error));
        }
      }),
      { numRuns: 500 },
    );
  });
});
