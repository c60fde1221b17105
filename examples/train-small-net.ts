// Trains a small network from plain tensors: which of two interleaved spirals is a point on?
// npm run example -- train-small-net
import { adamwInit, adamwStep } from 'mobillm/model';
import {
  add,
  argmax,
  crossEntropy,
  disposeTree,
  gelu,
  live,
  matmul,
  noGrad,
  random,
  randomNormal,
  scope,
  setBackend,
  type Tensor,
  tensor,
  valueAndGrad,
  wasmBackend,
  zeros,
} from 'mobillm/tensor';

const POINTS = 200;
const HIDDEN = 32;

setBackend(wasmBackend());
const rng = random(7);

/** Points [B, 2] of two arms, and which arm each is on [B]. */
function spirals(): { points: Tensor; arms: Tensor } {
  const points = new Float32Array(POINTS * 2);
  const arms = new Int32Array(POINTS);
  for (let i = 0; i < POINTS; i++) {
    arms[i] = i % 2;
    const radius = 0.2 + (1.8 * i) / POINTS;
    const angle = 4 * radius + Math.PI * arms[i] + rng.normal(0, 0.05);
    points.set([radius * Math.cos(angle), radius * Math.sin(angle)], i * 2);
  }
  return { points: tensor(points, [POINTS, 2]), arms: tensor(arms) };
}

/** Parameters are a plain tree of tensors; nothing has to be registered. */
const fresh = () => ({
  first: { weight: randomNormal([2, HIDDEN], 1, rng), bias: randomNormal([HIDDEN], 1, rng) },
  second: { weight: randomNormal([HIDDEN, HIDDEN], 0.2, rng), bias: zeros([HIDDEN]) },
  last: { weight: randomNormal([HIDDEN, 2], 0.2, rng), bias: zeros([2]) },
});
type Params = ReturnType<typeof fresh>;

function logits({ first, second, last }: Params, x: Tensor): Tensor {
  const a = gelu(add(matmul(x, first.weight), first.bias));
  const b = gelu(add(matmul(a, second.weight), second.bias));
  return add(matmul(b, last.weight), last.bias);
}

const { points, arms } = spirals();
const lossAndGrads = valueAndGrad((params: Params) => crossEntropy(logits(params, points), arms));

let params = fresh();
let state = adamwInit(params);
for (let step = 0; step <= 400; step++) {
  // All that a step makes is freed at its end, except what it returns.
  const next = scope(() => {
    const { value, grads } = lossAndGrads(params);
    if (step % 100 === 0) console.log(`step ${step}: loss ${value.item().toFixed(4)}`);
    const { params: p, state: s } = adamwStep(params, grads, state, { learningRate: 1e-2 });
    return { params: p, m: s.m, v: s.v };
  });
  disposeTree({ params, m: state.m, v: state.v });
  params = next.params;
  state = { step: state.step + 1, m: next.m, v: next.v };
}

const guessed = noGrad(() => argmax(logits(params, points)).toArray());
const right = arms.toArray().filter((arm, i) => arm === guessed[i]).length;
console.log(`${right} of ${POINTS} points on the right arm; ${live().bytes} bytes in tensors`);
