import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { generate, type Llama } from '../../../src/model/index.ts';
import { keep, live, random, scope, type Tensor } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { assertClose } from '../../support/close.ts';
import { seed } from '../../support/sizes.ts';
import { TINY, tinyIds, tinyLlama } from '../../support/tiny-llama.ts';

/** Rows are summed in other tiles when they stand elsewhere in a batch; two layers of f32. */
const F32 = 2e-5;

const { hiddenSize: D } = TINY;

/** Sequence lengths around the tiles of the kernels; none at all is fine. */
const lengths = fc.array(fc.constantFrom(0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17), { maxLength: 6 });
const total = (list: readonly number[]) => list.reduce((sum, n) => sum + n, 0);

/** Rows of each sequence of a packed `[T, D]`. */
function split(packed: Float32Array, list: readonly number[]): Float32Array[] {
  let start = 0;
  return list.map((n) => {
    const part = packed.subarray(start * D, (start + n) * D);
    start += n;
    return part;
  });
}

function packedTaps(model: Llama, ids: Int32Array, list: readonly number[]): Float32Array[] {
  const taps: Float32Array[] = [];
  const tap = (_: number, hidden: Tensor) => taps.push(hidden.toFloat32());
  model.forward({ ids, lengths: list }, tap).dispose();
  return taps;
}

for (const { name, backend } of backends()) {
  describe(`Llama, ${name}`, async () => {
    const models = [
      await tinyLlama(backend),
      await tinyLlama(backend, {
        seed: 2,
        config: { numKeyValueHeads: 4, numHiddenLayers: 1, ropeTheta: 100 },
      }),
    ];
    // By number: a counterexample prints what it holds.
    const model = fc.nat(models.length - 1);

    it('a packed batch gives every sequence what it gets alone, at every tap', () => {
      fc.assert(
        fc.property(model, lengths, seed, (which, list, from) => {
          const llama = models[which];
          const before = live(backend).bytes;
          const ids = tinyIds(total(list), from);
          const packed = packedTaps(llama, ids, list);
          let start = 0;
          list.forEach((n, s) => {
            const alone = packedTaps(llama, ids.slice(start, start + n), [n]);
            assert.equal(alone.length, packed.length);
            alone.forEach((rows, layer) => {
              assertClose(split(packed[layer], list)[s], rows, F32, `sequence ${s}, tap ${layer}`);
            });
            start += n;
          });
          assert.equal(live(backend).bytes, before);
        }),
        { numRuns: 30 },
      );
    });

    it('a prefix in the cache, however it got there, is a text in front', () => {
      fc.assert(
        fc.property(
          model,
          fc.array(fc.constantFrom(0, 1, 3, 4, 8), { maxLength: 3 }),
          lengths.filter((list) => list.every((n) => n <= 9)),
          fc.nat(5),
          seed,
          (which, chunks, list, spare, from) => {
            const llama = models[which];
            const prefix = tinyIds(total(chunks), from);
            const ids = tinyIds(total(list), from + 1);
            const cache = keep(llama.newCache(Math.max(1, prefix.length + spare)));
            let start = 0;
            for (const n of chunks) {
              const part = { ids: prefix.slice(start, start + n), lengths: [n] };
              llama.forward({ ...part, past: cache, extendPast: true }).dispose();
              start += n;
            }
            assert.equal(cache.length, prefix.length);
            const packed = scope(() =>
              llama.forward({ ids, lengths: list, past: cache }).toFloat32(),
            );
            cache.dispose();
            start = 0;
            split(packed, list).forEach((rows, s) => {
              const text = Int32Array.of(...prefix, ...ids.slice(start, start + list[s]));
              const whole = scope(() =>
                llama.forward({ ids: text, lengths: [text.length] }).toFloat32(),
              );
              assertClose(rows, whole.subarray(prefix.length * D), F32, `sequence ${s}`);
              start += list[s];
            });
          },
        ),
        { numRuns: 30 },
      );
    });

    it('tokens see nothing of what follows them', () => {
      fc.assert(
        fc.property(
          model,
          fc.integer({ min: 1, max: 20 }),
          fc.nat(),
          seed,
          (which, n, at, from) => {
            const llama = models[which];
            const ids = tinyIds(n, from);
            const changed = Int32Array.from(ids);
            const place = at % n;
            changed[place] = (changed[place] + 1) % TINY.vocabSize;
            const before = packedTaps(llama, ids, [n]).at(-1) as Float32Array;
            const after = packedTaps(llama, changed, [n]).at(-1) as Float32Array;
            assert.deepEqual(after.subarray(0, place * D), before.subarray(0, place * D));
            assert.notDeepEqual(after.subarray(place * D), before.subarray(place * D));
          },
        ),
        { numRuns: 30 },
      );
    });

    it('generating greedily is one forward pass over the result', () => {
      fc.assert(
        fc.property(
          model,
          fc.integer({ min: 1, max: 20 }),
          fc.integer({ min: 1, max: 12 }),
          seed,
          (which, n, maxTokens, from) => {
            const llama = models[which];
            const prompt = [...tinyIds(n, from)];
            const made = [...generate(llama, prompt, { maxTokens })];
            assert.equal(made.length, maxTokens);
            const text = Int32Array.of(...prompt, ...made);
            const logits = scope(() => {
              const hidden = llama.forward({ ids: text, lengths: [text.length] });
              return llama.logits(hidden).toFloat32();
            });
            made.forEach((token, i) => {
              const start = (n - 1 + i) * TINY.vocabSize;
              const row = logits.subarray(start, start + TINY.vocabSize);
              const top = Math.max(...row);
              // Two tokens may be equally likely but for rounding.
              assert.ok(row[token] >= top - F32 * Math.abs(top), `token ${i}`);
            });
            const options = { maxTokens, temperature: 3, topK: 1, random: random(from) };
            assert.deepEqual([...generate(llama, prompt, options)], made);
          },
        ),
        { numRuns: 20 },
      );
    });
  });
}
