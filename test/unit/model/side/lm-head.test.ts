import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  decodeLmHead,
  encodeLmHead,
  type LmHead,
  lmLogits,
  lmLoss,
  type OutputHead,
  openLmHead,
  partTokens,
  tokenLosses,
} from '../../../../src/model/index.ts';
import { packQc8w } from '../../../../src/quant/index.ts';
import {
  concat,
  cpuBackend,
  crossEntropy,
  random,
  randomNormal,
  scope,
  type Tensor,
  tensor,
  valueAndGrad,
  wasmBackend,
} from '../../../../src/tensor/index.ts';
import { furthest } from '../../../support/train-steps.ts';

const VOCAB = 301;
const WIDTH = 48;

/** Sums of some hundred products in f32, in another order. */
const ROUNDING = 2e-5;

const backend = wasmBackend();

function outputHead(kind: 'rms' | 'layer', vocab = VOCAB, width = WIDTH): OutputHead {
  const rng = random(1);
  const [weight, bias] = [1, 2].map(() => randomNormal([width], 1, rng, backend));
  return {
    norm: { kind, eps: 1e-5, weight, ...(kind === 'layer' && { bias }) },
    matrix: randomNormal([vocab, width], 0.3, rng, backend),
  };
}

const expected = { vocab: VOCAB, width: WIDTH };

/** The pieces of a head's matrix as one. */
const whole = (head: LmHead) => concat(head.matrix, 0);

for (const kind of ['rms', 'layer'] as const) {
  describe(`a head behind ${kind} norm`, () => {
    const head = decodeLmHead(encodeLmHead(outputHead(kind), backend), expected, backend);

    it('travels in 8 bits: what comes out is what went in, but for rounding', () => {
      const { matrix, norm } = outputHead(kind);
      const before = (matrix as Tensor).toFloat32();
      const largest = before.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      assert.ok(furthest([...before], [...whole(head).toFloat32()]) <= largest / 253);
      assert.deepEqual(head.norm.weight.toFloat32(), norm.weight.toFloat32());
      assert.deepEqual(head.norm.bias?.toFloat32(), norm.bias?.toFloat32());
      const again = { norm: head.norm, matrix: whole(head) };
      assert.deepEqual(encodeLmHead(again, backend), encodeLmHead(outputHead(kind), backend));
    });

    // Below, at and past the rows that are computed at once.
    for (const rows of [1, 127, 128, 129, 300]) {
      for (const labelSmoothing of [0, 0.1]) {
        it(`loss and gradient of ${rows} rows, smoothing ${labelSmoothing}, are crossEntropy's`, () => {
          const rng = random(rows);
          const hidden = randomNormal([rows, WIDTH], 1, rng, backend);
          const ids = Int32Array.from({ length: rows }, () => rng.int(VOCAB));
          const targets = tensor(ids, [rows], { backend });
          const plain = valueAndGrad((h: Tensor) =>
            crossEntropy(lmLogits(head)(h), targets, { labelSmoothing }),
          )(hidden);
          const chunked = valueAndGrad((h: Tensor) => lmLoss(head, h, targets, labelSmoothing))(
            hidden,
          );
          assert.ok(Math.abs(plain.value.item() - chunked.value.item()) < ROUNDING);
          const [a, b] = [plain, chunked].map(({ grads }) => [...grads.toFloat32()]);
          assert.ok(furthest(a, b) < ROUNDING / rows, `${furthest(a, b)}`);
          // Without a tape the same value.
          const alone = scope(() => lmLoss(head, hidden, targets, labelSmoothing).item());
          assert.equal(alone, chunked.value.item());
          if (labelSmoothing > 0) return;
          const losses = tokenLosses(hidden, ids, lmLogits(head));
          const mean = losses.reduce((sum, loss) => sum + loss, 0) / rows;
          assert.ok(Math.abs(mean - plain.value.item()) < ROUNDING);
        });
      }
    }
  });
}

it('a matrix that stays in 8 bits gives the same loss and gradient, bit for bit, and is freed', () => {
  // Three pieces, the last one short.
  const [vocab, width, rows] = [4100, 72, 140];
  const bytes = encodeLmHead(outputHead('layer', vocab, width), backend);
  const whole = decodeLmHead(bytes, { vocab, width }, backend);
  const coded = openLmHead(bytes, { vocab, width }, backend);
  assert.equal(whole.matrix.length, 3);
  const rng = random(9);
  const hidden = randomNormal([rows, width], 1, rng, backend);
  const ids = Int32Array.from({ length: rows }, () => rng.int(vocab));
  const targets = tensor(ids, [rows], { backend });
  const before = backend.memory().bytes;
  scope(() => {
    const [a, b] = [whole, coded].map((head) =>
      valueAndGrad((h: Tensor) => lmLoss(head, h, targets, 0.1))(hidden),
    );
    assert.deepEqual(a.value.toFloat32(), b.value.toFloat32());
    assert.deepEqual(a.grads.toFloat32(), b.grads.toFloat32());
    assert.deepEqual(
      ...([whole, coded].map((head) => tokenLosses(hidden, ids, lmLogits(head))) as [
        number[],
        number[],
      ]),
    );
  });
  assert.equal(backend.memory().bytes, before);
});

it('holds the logits of a few rows at a time, and nothing afterwards', () => {
  const own = wasmBackend();
  const [vocab, width, rows] = [1000, 8, 1280];
  const bytes = encodeLmHead(outputHead('rms', vocab, width), backend);
  const head = decodeLmHead(bytes, { vocab, width }, own);
  const hidden = randomNormal([rows, width], 1, random(1), own);
  const targets = tensor(new Int32Array(rows), [rows], { backend: own });
  const before = own.memory().bytes;
  const run = () =>
    scope(() => {
      valueAndGrad((h: Tensor) => lmLoss(head, h, targets))(hidden);
    });
  run();
  assert.equal(own.memory().bytes, before);
  const most = own.memory().peakBytes - before;
  assert.ok(most < (4 * rows * vocab) / 2, `${most} bytes for logits of ${4 * rows * vocab}`);
});

it('packed weights give the bytes of what they stand for', () => {
  const rng = random(3);
  const values = Float32Array.from({ length: VOCAB * 64 }, () => rng.normal());
  const matrix = packQc8w(values, VOCAB, 64, { backend });
  const weight = randomNormal([64], 1, rng, backend);
  const bytes = encodeLmHead({ norm: { kind: 'rms', eps: 1e-6, weight }, matrix }, backend);
  const head = decodeLmHead(bytes, { vocab: VOCAB, width: 64 }, cpuBackend());
  // 7 bits, then 8.
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  assert.ok(furthest([...values], [...whole(head).toFloat32()]) < largest / 100);
});

it('refuses bytes that are no head, or of another model', () => {
  const bytes = encodeLmHead(outputHead('rms'), backend);
  const refuses = (change: (copy: Uint8Array) => Uint8Array, says: RegExp) =>
    assert.throws(() => decodeLmHead(change(bytes.slice()), expected, backend), {
      code: 'E_LM_HEAD',
      message: says,
    });
  refuses((copy) => copy.subarray(0, 10), /none/);
  refuses((copy) => copy.subarray(1), /none/);
  refuses((copy) => copy.subarray(0, -1), /bytes, \d+ are needed/);
  refuses((copy) => copy.fill(9, 4, 5), /norm is unknown/);
  refuses((copy) => copy.fill(7, 8, 9), /tokens of width 48, the job has 301 of 48/);
});

it('parts of a batch are a megabyte of states at the most, and whole blocks of logits', () => {
  for (const width of [1, 64, 576, 1024, 1025, 2048, 2049, 4096, 8192, 2 ** 20]) {
    const tokens = partTokens(width);
    assert.ok(tokens >= 1 && tokens <= 256);
    assert.ok(tokens === 1 || 4 * tokens * width <= 2 ** 20, `${tokens} of ${width}`);
    assert.ok(tokens < 128 || tokens % 128 === 0);
  }
});
