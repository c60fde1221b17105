import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { alignmentWeights } from '../../../../src/model/side/alignment.ts';
import { random, randomNormal, scope, tensor, zeros } from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';
import { seed } from '../../../support/sizes.ts';

/** Products of f32 against float64; alignments are of order one tenth, and raised to the fourth power. */
const CLOSE = 1e-4;

const job = fc.record({
  layers: fc.constantFrom(1, 2, 3),
  kinds: fc.constantFrom(1, 2),
  width: fc.constantFrom(2, 3, 8),
  classes: fc.constantFrom(1, 2, 5),
  rows: fc.constantFrom(4, 7, 16),
  seed,
});

/** Targets `[n, C]` less their means. */
function centred(n: number, classes: number, value: (i: number, c: number) => number) {
  const targets = Float64Array.from({ length: n * classes }, (_, at) =>
    value(Math.floor(at / classes), at % classes),
  );
  const mean = (c: number) => targets.reduce((s, y, at) => (at % classes === c ? s + y / n : s), 0);
  const means = Array.from({ length: classes }, (_, c) => mean(c));
  return targets.map((y, at) => y - means[at % classes]);
}

for (const { name, backend } of backends()) {
  describe(`alignment of taps, ${name}`, () => {
    it('is the cosine between centred kernels, to the fourth power', () => {
      fc.assert(
        fc.property(job, ({ rows: n, seed: from, ...shape }) => {
          scope(() => {
            const { layers, kinds, width, classes } = shape;
            const rng = random(from);
            const taps = Array.from({ length: layers }, () =>
              randomNormal([n * kinds, width], 1, rng, backend),
            );
            const targets = centred(n, classes, () => rng.normal());
            const kernelOf = (rows: number[][]) =>
              rows.flatMap((x) => rows.map((y) => x.reduce((s, v, i) => s + v * y[i], 0)));
            const wanted = kernelOf(
              Array.from({ length: n }, (_, i) => [
                ...targets.subarray(i * classes, (i + 1) * classes),
              ]),
            );
            const alignments = Array.from({ length: layers * kinds }, (_, block) => {
              const values = taps[Math.floor(block / kinds)].toFloat32();
              const rows = Array.from({ length: n }, (_, i) => {
                const start = (i * kinds + (block % kinds)) * width;
                const row = [...values.subarray(start, start + width)];
                return row.map((v) => v / Math.hypot(...row));
              });
              const means = rows[0].map((_, d) => rows.reduce((s, row) => s + row[d] / n, 0));
              const kernel = kernelOf(rows.map((row) => row.map((v, d) => v - means[d])));
              const dot = kernel.reduce((s, v, i) => s + v * wanted[i], 0);
              return dot / Math.hypot(...kernel) / Math.hypot(...wanted);
            });
            const total = alignments.reduce((s, a) => s + a ** 4, 0);
            const weights = alignmentWeights(taps, targets, shape);
            alignments.forEach((a, i) => {
              assert.ok(Math.abs(weights[i] - a ** 4 / total) <= CLOSE, `${i}: ${weights[i]}`);
            });
          });
        }),
        { numRuns: 30 },
      );
    });

    it('takes the tap that says the class, and all alike where none says anything', () => {
      scope(() => {
        const [n, kinds, width, classes] = [20, 2, 4, 2];
        const shape = { layers: 2, kinds, width, classes };
        const targets = centred(n, classes, (i, c) => (i % 2 === c ? 1 : 0));
        const noise = randomNormal([n * kinds, width], 1, random(1), backend);
        const values = noise.toFloat32();
        for (let i = 0; i < n; i++) values[(i * kinds + 1) * width] = i % 2 === 0 ? 9 : -9;
        const telling = tensor(values, [n * kinds, width], { backend });
        const weights = alignmentWeights([noise, telling], targets, shape);
        assert.ok(weights[3] > 0.9, `${weights}`);
        const none = zeros([n * kinds, width], backend);
        assert.deepEqual(
          [...alignmentWeights([none, none], targets, shape)],
          [0.25, 0.25, 0.25, 0.25],
        );
      });
    });
  });
}
