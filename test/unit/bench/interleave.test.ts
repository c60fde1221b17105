import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interleave, median, ratioOf } from '../../../bench/interleave.ts';
import { markdownTable } from '../../../bench/markdown.ts';

test('the median of odd and even counts', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
});

test('contenders run in turns, every second round backwards, all as often as was asked for', async () => {
  const order: string[] = [];
  const contender = (name: string) => ({
    name,
    async run() {
      order.push(name);
      await null;
    },
  });
  const turns = await interleave([contender('a'), contender('b')], {
    rounds: 3,
    // So short that a single run is a sample.
    sampleSeconds: 1e-9,
  });
  assert.deepEqual(
    turns.map(({ name, samples }) => [name, samples.length]),
    [
      ['a', 3],
      ['b', 3],
    ],
  );
  assert.equal(order.slice(-6).join(''), 'abbaab');
});

test('a ratio is taken round by round, so that a slow round moves it little', () => {
  const turns = (name: string, samples: number[]) => ({ name, samples, median: median(samples) });
  const fast = turns('fast', [1, 10, 1, 1, 1]);
  const slow = turns('slow', [2, 20, 2.2, 2, 1.8]);
  assert.deepEqual(ratioOf(slow, fast), { median: 2, low: 2, high: 2 });
});

test('a table lines up, numbers to the right', () => {
  assert.equal(
    markdownTable(
      ['name', 'n'],
      [
        ['a', '1.5'],
        ['longer', '10.5'],
      ],
      [1],
    ),
    ['| name   |    n |', '| ------ | ---: |', '| a      |  1.5 |', '| longer | 10.5 |'].join('\n'),
  );
});
