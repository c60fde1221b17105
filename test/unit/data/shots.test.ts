import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { chooseShots } from '../../../src/data/index.ts';

const rows = Array.from({ length: 60 }, (_, i) => ({
  text: 'x'.repeat(1 + ((i * 7) % 50)),
  label: ['a', 'b', 'c'][i % 3],
}));

describe('chooseShots', () => {
  it('is even over classes, short, deterministic, and moves with the seed', () => {
    const shots = chooseShots(rows, 6, 1);
    for (const label of ['a', 'b', 'c']) {
      assert.equal(shots.filter((shot) => shot.label === label).length, 2);
      const lengths = rows.filter((row) => row.label === label).map(({ text }) => text.length);
      const quarter = lengths.sort((x, y) => x - y)[4];
      for (const shot of shots) if (shot.label === label) assert.ok(shot.text.length <= quarter);
    }
    assert.ok(shots.every((shot) => rows.includes(shot)));
    assert.deepEqual(chooseShots(rows, 6, 1), shots);
    const others = Array.from({ length: 5 }, (_, seed) =>
      JSON.stringify(chooseShots(rows, 6, seed)),
    );
    assert.ok(new Set(others).size > 1);
  });

  it('spreads an odd count, and gives all rows when asked for more', () => {
    const counts = new Map<string, number>();
    for (const { label } of chooseShots(rows, 7, 3))
      counts.set(label, (counts.get(label) ?? 0) + 1);
    assert.deepEqual([...counts.values()].sort(), [2, 2, 3]);
    assert.equal(chooseShots(rows, 2, 0).length, 2);
    assert.equal(new Set(chooseShots(rows, 100, 0)).size, 60);
    assert.deepEqual(chooseShots(rows, 0, 0), []);
    assert.deepEqual(chooseShots([], 3, 0), []);
    const uneven = [...rows.slice(0, 1), ...rows.filter(({ label }) => label === 'b')];
    assert.equal(chooseShots(uneven, 10, 0).length, 10);
  });
});
