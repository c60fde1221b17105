import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cpuBackend,
  type Random,
  random,
  randomNormal,
  randomUniform,
} from '../../../src/tensor/index.ts';

const DRAWS = 100_000;
/**
 * Statistics of fixed seeds: they pass or fail for good. Five standard errors is what one in two
 * million good seeds would miss.
 */
const SIGMAS = 5;

function draw(rng: Random, f: (rng: Random) => number): number[] {
  return Array.from({ length: DRAWS }, () => f(rng));
}

function assertMean(values: readonly number[], mean: number, deviation: number): void {
  const found = values.reduce((total, value) => total + value, 0) / values.length;
  const allowed = (SIGMAS * deviation) / Math.sqrt(values.length);
  assert.ok(Math.abs(found - mean) < allowed, `mean ${found}, expected ${mean} +- ${allowed}`);
}

test('a seed fixes the stream, and seeds differ', () => {
  const first = (seed: number) => Array.from({ length: 8 }, random(seed).bits);
  assert.deepEqual(first(42), first(42));
  const seeds = [0, 1, -1, 2, 42, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER];
  const all = seeds.map((seed) => first(seed).join());
  assert.equal(new Set(all).size, seeds.length);
});

test('the stream is pinned: a change of it would change every published run', () => {
  const rng = random(1);
  assert.deepEqual([rng.bits(), rng.bits(), rng.bits()], [924688311, 1621341939, 2361430924]);
});

test('forks depend on seed and label alone', () => {
  const parent = random(7);
  const before = parent.fork('data').bits();
  parent.normal();
  assert.equal(parent.fork('data').bits(), before);
  const labels = ['data', 'init', 'dat', 0, 1, 'a/b'];
  const streams = labels.map((label) => parent.fork(label).bits());
  streams.push(parent.fork('a').fork('b').fork('c').bits(), random(8).fork('data').bits());
  assert.equal(new Set(streams).size, labels.length + 2);
});

test('uniform numbers fill [0, 1) evenly', () => {
  const values = draw(random(3), (rng) => rng.next());
  assert.ok(values.every((value) => value >= 0 && value < 1));
  assertMean(values, 0.5, Math.sqrt(1 / 12));
  const bins = new Array<number>(64).fill(0);
  for (const value of values) bins[Math.floor(value * 64)]++;
  const expected = DRAWS / 64;
  const chi = bins.reduce((total, count) => total + (count - expected) ** 2 / expected, 0);
  assert.ok(Math.abs(chi - 63) < SIGMAS * Math.sqrt(2 * 63), `chi-squared ${chi} at 63`);
  // Neighbours are not related.
  assertMean(
    values.slice(1).map((value, i) => (value - 0.5) * (values[i] - 0.5)),
    0,
    1 / 12,
  );
  assertMean(
    draw(random(4), (rng) => rng.uniform(-3, 5)),
    1,
    8 / Math.sqrt(12),
  );
});

test('every bit is on half of the time', () => {
  const values = draw(random(5), (rng) => rng.bits());
  for (let bit = 0; bit < 32; bit++) {
    assertMean(
      values.map((value) => (value >>> bit) & 1),
      0.5,
      0.5,
    );
  }
});

test('normal numbers have the moments of the normal', () => {
  const values = draw(random(6), (rng) => rng.normal());
  assertMean(values, 0, 1);
  assertMean(
    values.map((x) => x ** 2),
    1,
    Math.sqrt(2),
  );
  assertMean(
    values.map((x) => x ** 3),
    0,
    Math.sqrt(15),
  );
  assertMean(
    values.map((x) => x ** 4),
    3,
    Math.sqrt(96),
  );
  assertMean(
    draw(random(6), (rng) => rng.normal(10, 0.5)),
    10,
    0.5,
  );
});

test('whole numbers are even over their range', () => {
  for (const n of [1, 3, 10]) {
    const counts = new Array<number>(n).fill(0);
    for (const value of draw(random(n), (rng) => rng.int(n))) counts[value]++;
    for (const count of counts) {
      const allowed = SIGMAS * Math.sqrt(DRAWS * (1 / n) * (1 - 1 / n));
      assert.ok(Math.abs(count - DRAWS / n) <= allowed, `${count} of ${DRAWS / n}`);
    }
  }
});

test('shuffles are permutations, each as likely as another', () => {
  const rng = random(9);
  assert.deepEqual(
    [...rng.permutation(50)].sort((a, b) => a - b),
    [...Array(50).keys()],
  );
  assert.deepEqual(rng.permutation(0), new Int32Array(0));
  const items = ['a', 'b', 'c'];
  const counts = new Map<string, number>();
  for (let i = 0; i < 60_000; i++) {
    const order = rng.shuffle([...items]).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 6);
  for (const count of counts.values()) assert.ok(Math.abs(count - 10_000) < SIGMAS * 92);
});

test('random tensors are drawn in order', () => {
  const backend = cpuBackend();
  const [a, b] = [random(2), random(2)];
  const normal = randomNormal([2, 3], 0.5, a, backend).toFloat32();
  assert.deepEqual(
    normal,
    Float32Array.from({ length: 6 }, () => b.normal(0, 0.5)),
  );
  const uniform = randomUniform([500], -1, 3, a, backend).toFloat32();
  assert.ok(uniform.every((x) => x >= -1 && x < 3));
});
