// Writes an operation with its derivative, and has fast-check look for a point where they disagree.
// npm run example -- write-an-op
import fc from 'fast-check';
import {
  abs,
  add,
  affine,
  exp,
  log,
  maximum,
  mul,
  neg,
  noGrad,
  record,
  setBackend,
  sigmoid,
  sum,
  type Tensor,
  tensor,
  valueAndGrad,
  wasmBackend,
  zeros,
} from 'mobillm/tensor';

setBackend(wasmBackend());

/**
 * log(1 + e^x), as max(x, 0) + log(1 + e^-|x|) so that no e^x overflows. Built of operations, it
 * would have their derivatives; `record` gives it a shorter one: d/dx = 1 / (1 + e^-x).
 */
function softplus(x: Tensor): Tensor {
  const y = noGrad(() => add(maximum(x, zeros([])), log(affine(exp(neg(abs(x))), 1, 1))));
  return record(y, [x], (dy) => [mul(dy, sigmoid(x))]);
}

/** Half the distance of the central difference (f(x + h) - f(x - h)) / 2h. */
const STEP = 2 ** -5;
/** Error of the difference, h^2 f'''/6 with |f'''| below 0.1, and rounding of two f32 over 2h. */
const TOLERANCE = 2e-4;

const gradientOf = valueAndGrad((x: Tensor, weight: Tensor) => sum(mul(softplus(x), weight)));

let points = 0;
fc.assert(
  fc.property(
    fc.array(fc.tuple(fc.integer({ min: -640, max: 640 }), fc.integer({ min: -8, max: 8 })), {
      minLength: 1,
      maxLength: 40,
    }),
    (pairs) => {
      // Sixteenths are exact in f32; a weight for each output makes one gradient check them all.
      const x = pairs.map(([value]) => value / 16);
      const w = pairs.map(([, weight]) => weight / 8);
      const { grads } = gradientOf(tensor(x), tensor(w));
      const above = softplus(tensor(x.map((value) => value + STEP))).toFloat32();
      const below = softplus(tensor(x.map((value) => value - STEP))).toFloat32();
      grads.toFloat32().forEach((got, i) => {
        const expected = (w[i] * (above[i] - below[i])) / (2 * STEP);
        if (!(Math.abs(got - expected) <= TOLERANCE)) {
          throw new Error(`x = ${x[i]}: vjp gives ${got}, the difference ${expected}`);
        }
        points++;
      });
    },
  ),
  { seed: 1, numRuns: 200 },
);
console.log(`vjp of softplus = central differences at ${points} points, within ${TOLERANCE}`);
console.log(
  `softplus(-100, 0, 100) = ${softplus(tensor([-100, 0, 100]))
    .toFloat32()
    .join(', ')}`,
);
