import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { kernelHead, MOST_KERNEL_ROWS, type SideShape } from '../../../../src/model/index.ts';
import {
  argmax,
  live,
  random,
  randomNormal,
  scope,
  type Tensor,
  zeros,
} from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';

const SHAPE: SideShape = { layers: 3, width: 4, kinds: 2, classes: 3 };
const ROWS = 40;

/** The first numbers of a row's last layer. */
const firsts = (tap: Tensor, { kinds, width }: SideShape) => {
  const values = tap.toFloat32();
  return Array.from({ length: ROWS }, (_, b) => values[b * kinds * width]);
};

for (const { name, backend } of backends()) {
  describe(`the kernel head, ${name}`, () => {
    const taps = Array.from({ length: SHAPE.layers }, (_, i) =>
      randomNormal([ROWS * SHAPE.kinds, SHAPE.width], 1, random(i), backend),
    );
    const solve = kernelHead(SHAPE).solve as NonNullable<ReturnType<typeof kernelHead>['solve']>;

    it('finds the class that the taps say, and leaves nothing behind', () => {
      const labels = firsts(taps[2], SHAPE).map((x) => (x > 0.4 ? 2 : x < -0.4 ? 0 : 1));
      const before = live(backend).bytes;
      scope(() => {
        const { params, loss } = solve(taps, labels);
        const predicted = argmax(kernelHead(SHAPE).logits(params, taps), 1).toArray();
        const hits = labels.filter((label, i) => label === predicted[i]).length;
        assert.ok(hits > 0.9 * ROWS, `${hits} of ${ROWS}`);
        assert.ok(loss < Math.log(3), `of rows left out ${loss}`);
      });
      assert.equal(live(backend).bytes, before);
    });

    it('foretells a number', () => {
      const shape = { ...SHAPE, classes: 1 };
      const numbers = firsts(taps[0], shape);
      scope(() => {
        const { params, loss } = (kernelHead(shape).solve as typeof solve)(taps, numbers);
        const predicted = kernelHead(shape).logits(params, taps).toFloat32();
        const error = numbers.reduce((sum, y, i) => sum + (y - predicted[i]) ** 2, 0) / ROWS;
        assert.ok(error < 0.1 && error < loss, `${error}, left out ${loss}`);
      });
    });

    it('refuses more rows than can be solved', () => {
      const rows = MOST_KERNEL_ROWS + 1;
      scope(() =>
        assert.throws(
          () => solve([zeros([rows, 1], backend)], Array<number>(rows).fill(0)),
          /--head kernel: 4001 training rows, it is solved for up to 4000/,
        ),
      );
    });
  });
}
