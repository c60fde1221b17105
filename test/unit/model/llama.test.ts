import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PackedBatch } from '../../../src/model/index.ts';
import {
  add,
  isRecording,
  keep,
  live,
  mean,
  mul,
  ones,
  ShapeError,
  scope,
  sum,
  UsageError,
  valueAndGrad,
} from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { assertClose } from '../../support/close.ts';
import { naiveLlama } from '../../support/naive-llama.ts';
import { TINY, tinyIds, tinyLlama } from '../../support/tiny-llama.ts';

/** Two layers in f32 against float64, and f32 in another order of sums. */
const F32 = 2e-5;
/**
 * Backends agree bit by bit in integer products, but not in norms and softmax: a value on the edge
 * of two int8 steps may fall to the other side, which moves an activation by 1/127 of its group.
 */
const INTEGER = 2e-2;

const { hiddenSize: D, vocabSize: V, numHiddenLayers: L, maxPositionEmbeddings: CONTEXT } = TINY;

for (const { name, backend } of backends()) {
  describe(`Llama, ${name}`, async () => {
    const model = await tinyLlama(backend);
    const hiddenOf = (batch: PackedBatch) => scope(() => model.forward(batch).toFloat32());
    const alone = (ids: Int32Array) => hiddenOf({ ids, lengths: [ids.length] });

    for (const tieWordEmbeddings of [true, false]) {
      it(`computes what the papers say, ${tieWordEmbeddings ? '' : 'un'}tied`, async () => {
        const config = { ...TINY, tieWordEmbeddings, ropeTheta: 500, numKeyValueHeads: 1 };
        const other = await tinyLlama(backend, { config, seed: 3 });
        const ids = tinyIds(11);
        const naive = naiveLlama(config, 3, ids);
        scope(() => {
          const hidden = other.forward({ ids, lengths: [11] }, (layer, state) => {
            assertClose(state.toFloat32(), naive.hidden[layer].flat(), F32, `layer ${layer}`);
          });
          assertClose(other.logits(hidden).toFloat32(), naive.logits.flat(), F32, 'logits');
        });
        other.dispose();
      });
    }

    it('gives a packed batch what each sequence gets alone', () => {
      const lengths = [5, 1, 17, 0, 3];
      const ids = tinyIds(26);
      const packed = hiddenOf({ ids, lengths });
      let start = 0;
      for (const length of lengths) {
        const part = packed.subarray(start * D, (start + length) * D);
        assertClose(part, alone(ids.slice(start, start + length)), F32, `rows from ${start}`);
        start += length;
      }
    });

    it('reads a prefix from the cache as if it stood in front of every sequence', () => {
      const prefix = tinyIds(7, 2);
      const lengths = [4, 9, 1];
      const ids = tinyIds(14, 3);
      const cache = keep(model.newCache(7));
      model.forward({ ids: prefix, lengths: [7], past: cache, extendPast: true }).dispose();
      assert.equal(cache.length, 7);
      const packed = hiddenOf({ ids, lengths, past: cache });
      assert.equal(cache.length, 7, 'reading leaves the cache as it is');
      let start = 0;
      for (const length of lengths) {
        const whole = alone(Int32Array.of(...prefix, ...ids.slice(start, start + length)));
        const part = packed.subarray(start * D, (start + length) * D);
        assertClose(part, whole.subarray(7 * D), F32, `rows from ${start}`);
        start += length;
      }
      cache.dispose();
    });

    it('token by token over a cache equals one pass', () => {
      const ids = tinyIds(20, 4);
      const whole = alone(ids);
      const cache = keep(model.newCache(20));
      ids.forEach((id, t) => {
        const row = hiddenOf({
          ids: Int32Array.of(id),
          lengths: [1],
          past: cache,
          extendPast: true,
        });
        assertClose(row, whole.subarray(t * D, (t + 1) * D), F32, `token ${t}`);
      });
      assert.equal(cache.length, 20);
      const once = hiddenOf({ ids: tinyIds(1), lengths: [1], past: cache });
      assert.equal(once.length, D, 'a full cache can still be read');
      assert.throws(
        () => hiddenOf({ ids: tinyIds(1), lengths: [1], past: cache, extendPast: true }),
        ShapeError,
      );
      assert.equal(cache.length, 20, 'nothing was added');
      cache.dispose();
    });

    it('taps 0..L in order, the last being the result', () => {
      const seen: number[] = [];
      let last: Float32Array | undefined;
      const ids = tinyIds(6);
      const out = scope(() =>
        model
          .forward({ ids, lengths: [6] }, (layer, hidden) => {
            seen.push(layer);
            assert.deepEqual(hidden.shape, [6, D]);
            assert.equal(isRecording(), false);
            last = hidden.toFloat32();
          })
          .toFloat32(),
      );
      assert.deepEqual(
        seen,
        Array.from({ length: L + 1 }, (_, i) => i),
      );
      assert.deepEqual(last, out);
    });

    it('stands outside every tape: no gradient passes through it', () => {
      const ids = tinyIds(6);
      const { value, grads } = valueAndGrad((x: ReturnType<typeof ones>) => {
        const scaled = mul(x, x);
        const hidden = model.forward({ ids, lengths: [6] }, (_, state) => {
          assert.equal(isRecording(), false);
          mean(mul(state, scaled)); // what a tap computes is no part of the loss either
        });
        assert.equal(isRecording(), true, 'the tape goes on afterwards');
        const logits = model.logits(mul(hidden, scaled));
        assert.deepEqual(logits.shape, [6, V]);
        return add(sum(logits), sum(scaled));
      })(ones([D], backend));
      assert.ok(Number.isFinite(value.item()));
      // d(sum x^2)/dx alone: had a tape run through the model this would be another number.
      assert.deepEqual([...grads.toFloat32()], Array(D).fill(2));
      assert.equal(isRecording(), false);
      value.dispose();
      grads.dispose();
    });

    it('holds no more memory after many passes than after one', () => {
      const ids = tinyIds(30);
      const cache = keep(model.newCache(CONTEXT));
      const pass = () =>
        scope(() => {
          const hidden = model.forward({ ids, lengths: [10, 20], past: cache });
          model.logits(hidden);
          cache.length = 0;
          model.forward({ ids, lengths: [30], past: cache, extendPast: true });
          cache.length = 0;
        });
      pass();
      const before = live(backend);
      for (let i = 0; i < 50; i++) pass();
      const after = live(backend);
      assert.equal(after.bytes, before.bytes);
      assert.equal(after.allocations, before.allocations);
      cache.dispose();
    });

    it('gives memory back when a pass fails in a tap', () => {
      const ids = tinyIds(4);
      const before = live(backend).bytes;
      const failing = () =>
        model.forward({ ids, lengths: [4] }, (layer) => {
          if (layer === 1) throw new RangeError('tap');
        });
      assert.throws(failing, RangeError);
      assert.equal(live(backend).bytes, before);
      assert.equal(isRecording(), false);
    });

    it('gives all memory back when disposed', async () => {
      const before = live(backend).bytes;
      for (const precision of ['f32', 'int8', 'int4'] as const) {
        for (const tieWordEmbeddings of [true, false]) {
          const other = await tinyLlama(backend, { precision, config: { tieWordEmbeddings } });
          assert.ok(live(backend).bytes - before >= other.weightBytes);
          other.dispose();
          assert.equal(live(backend).bytes, before, precision);
        }
      }
    });

    it('refuses what does not fit, in one line', () => {
      const pass = (batch: PackedBatch) => () => hiddenOf(batch);
      const long = tinyIds(CONTEXT + 1);
      assert.throws(pass({ ids: long, lengths: [long.length] }), (error: Error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, /49 tokens exceeds the model's context of 48; lower/);
        return !error.message.includes('\n');
      });
      assert.equal(alone(tinyIds(CONTEXT)).length, CONTEXT * D, 'the whole context is fine');
      const cache = keep(model.newCache(8));
      model.forward({ ids: tinyIds(8), lengths: [8], past: cache, extendPast: true }).dispose();
      const rest = tinyIds(CONTEXT - 7);
      assert.throws(pass({ ids: rest, lengths: [CONTEXT - 7], past: cache }), UsageError);
      assert.throws(
        pass({ ids: tinyIds(2), lengths: [1, 1], past: cache, extendPast: true }),
        UsageError,
      );
      cache.dispose();
      for (const lengths of [[3], [5], [2, 3], []]) {
        assert.throws(pass({ ids: tinyIds(4), lengths }), ShapeError, `[${lengths}] of 4`);
      }
      for (const id of [-1, V]) {
        assert.throws(pass({ ids: Int32Array.of(1, id), lengths: [2] }), ShapeError, `id ${id}`);
      }
      assert.equal(hiddenOf({ ids: new Int32Array(0), lengths: [] }).length, 0);
    });

    it('takes sequences longer than the rotary table it starts with', async () => {
      const config = { ...TINY, maxPositionEmbeddings: 700, numHiddenLayers: 1 };
      const other = await tinyLlama(backend, { config });
      const before = live(backend).bytes;
      const ids = tinyIds(600);
      scope(() => {
        const short = other.forward({ ids: ids.slice(0, 40), lengths: [40] }).toFloat32();
        const long = other.forward({ ids, lengths: [600] }).toFloat32();
        assertClose(long.subarray(0, 40 * D), short, F32, 'first rows');
        // A query and a key 550 and 600 positions in still meet at their distance: the same text
        // behind a prefix of 560 tokens.
        const cache = other.newCache(560);
        other.forward({ ids: ids.slice(0, 560), lengths: [560], past: cache, extendPast: true });
        const tail = other.forward({ ids: ids.slice(560), lengths: [40], past: cache });
        assertClose(tail.toFloat32(), long.subarray(560 * D), F32, 'last rows');
      });
      const table = (700 - 512) * (TINY.headDim / 2) * 4 * 2;
      const grown = live(backend).bytes - before;
      assert.ok(grown >= table && grown <= table + 1024, `${grown} bytes more, table ${table}`);
      other.dispose();
    });
  });
}

describe('Llama across backends', () => {
  for (const precision of ['f32', 'int8', 'int4'] as const) {
    it(`agrees in ${precision}`, async () => {
      const ids = tinyIds(25);
      const outputs: Float32Array[][] = [];
      for (const { backend } of backends()) {
        const model = await tinyLlama(backend, { precision });
        const states: Float32Array[] = [];
        scope(() => {
          const batch = { ids, lengths: [12, 13] };
          const hidden = model.forward(batch, (_, state) => states.push(state.toFloat32()));
          states.push(model.logits(hidden).toFloat32());
        });
        outputs.push(states);
        model.dispose();
      }
      const tolerance = precision === 'f32' ? F32 : INTEGER;
      for (const states of outputs.slice(1)) {
        states.forEach((state, i) => {
          assertClose(state, outputs[0][i], tolerance, `state ${i}`);
        });
      }
    });
  }
});
