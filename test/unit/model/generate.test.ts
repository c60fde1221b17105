import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type Backbone,
  type GenerateOptions,
  generate,
  sampleToken,
} from '../../../src/model/index.ts';
import { argmax, live, random, scope, slice, UsageError } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { TINY, tinyIds, tinyLlama } from '../../support/tiny-llama.ts';

/** Draws of the frequency test; a share's standard error is below 0.5 / 100. */
const DRAWS = 10_000;
/** Five standard errors. */
const SHARE = 0.025;

/** ln of 1/2, 1/4, 1/8, 1/8 in scrambled order: probabilities one can read. */
const LOGITS = Float32Array.from([
  Math.log(1 / 8),
  Math.log(1 / 2),
  Math.log(1 / 8),
  Math.log(1 / 4),
]);

describe('sampleToken', () => {
  const shares = (options: Parameters<typeof sampleToken>[1]) => {
    const rng = random(5);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < DRAWS; i++) counts[sampleToken(LOGITS, options, rng)]++;
    return counts.map((count) => count / DRAWS);
  };
  const near = (actual: number[], expected: number[]) => {
    actual.forEach((share, i) => {
      assert.ok(Math.abs(share - expected[i]) < SHARE, `${actual}, expected ${expected}`);
      if (expected[i] === 0) assert.equal(share, 0, `token ${i} is cut off`);
    });
  };

  it('takes the likeliest at temperature 0, the first of equals', () => {
    assert.equal(sampleToken(LOGITS, {}), 1);
    assert.equal(sampleToken(Float32Array.from([2, 5, 5]), { temperature: 0 }), 1);
    assert.equal(sampleToken(Float32Array.from([-3]), {}), 0);
  });

  it('draws with the softmax of logits over temperature', () => {
    near(shares({ temperature: 1 }), [1 / 8, 1 / 2, 1 / 8, 1 / 4]);
    const squares = [1 / 64, 1 / 4, 1 / 64, 1 / 16].map((p) => p / (22 / 64));
    near(shares({ temperature: 0.5 }), squares);
    near(shares({ temperature: 1e-6 }), [0, 1, 0, 0]);
  });

  it('top-k keeps the k likeliest and no more', () => {
    near(shares({ temperature: 1, topK: 2 }), [0, 2 / 3, 0, 1 / 3]);
    near(shares({ temperature: 1, topK: 1 }), [0, 1, 0, 0]);
    near(shares({ temperature: 1, topK: 99 }), [1 / 8, 1 / 2, 1 / 8, 1 / 4]);
  });

  it('min-p keeps tokens of at least that share of the likeliest one, which always stays', () => {
    near(shares({ temperature: 1, minP: 0.4 }), [0, 2 / 3, 0, 1 / 3]);
    near(shares({ temperature: 1, minP: 0.6 }), [0, 1, 0, 0]);
    near(shares({ temperature: 1, minP: 1 }), [0, 1, 0, 0]);
    near(shares({ temperature: 1, minP: 0 }), [1 / 8, 1 / 2, 1 / 8, 1 / 4]);
  });

  it('top-p keeps the smallest set that reaches p, at least one token', () => {
    near(shares({ temperature: 1, topP: 0.6 }), [0, 2 / 3, 0, 1 / 3]);
    near(shares({ temperature: 1, topP: 0.4 }), [0, 1, 0, 0]);
    near(shares({ temperature: 1, topP: 0 }), [0, 1, 0, 0]);
    near(shares({ temperature: 1, topP: 1 }), [1 / 8, 1 / 2, 1 / 8, 1 / 4]);
    // p counts what top-k left: 1/2 of 3/4.
    near(shares({ temperature: 1, topK: 2, topP: 0.66 }), [0, 1, 0, 0]);
  });

  it('reaches every token, whatever is drawn', () => {
    const fixed = (uniform: number) => ({ ...random(1), uniform: () => uniform });
    assert.equal(sampleToken(LOGITS, { temperature: 1 }, fixed(0)), 1);
    assert.equal(sampleToken(LOGITS, { temperature: 1 }, fixed(1 - 2 ** -32)), 2);
    assert.equal(sampleToken(LOGITS, { temperature: 1 }, fixed(0.6)), 3);
  });

  it('stands huge logits', () => {
    const huge = Float32Array.from([1e38, -1e38, 3e38]);
    assert.equal(sampleToken(huge, { temperature: 1 }, random(1)), 2);
  });

  it('asks for a generator when it has to draw', () => {
    assert.throws(() => sampleToken(LOGITS, { temperature: 1 }), UsageError);
  });
});

for (const { name, backend } of backends()) {
  describe(`generate, ${name}`, async () => {
    const model = await tinyLlama(backend);
    const prompt = [...tinyIds(5)];
    const run = (options: GenerateOptions, from = prompt) => [...generate(model, from, options)];

    it('greedy equals taking the argmax of ever longer texts', () => {
      const text = [...prompt];
      for (let i = 0; i < 12; i++) {
        const next = scope(() => {
          const hidden = model.forward({ ids: Int32Array.from(text), lengths: [text.length] });
          const logits = model.logits(slice(hidden, 0, text.length - 1, text.length));
          return argmax(logits, 1).toArray()[0];
        });
        text.push(next);
      }
      const expected = text.slice(prompt.length);
      assert.deepEqual(run({ maxTokens: 12 }), expected);
      assert.deepEqual(run({ maxTokens: 12 }), expected, 'and again');
      assert.ok(new Set(expected).size > 3, 'a text, not one token over and over');
    });

    it('top-k 1 is greedy', () => {
      const options = { maxTokens: 10, temperature: 2, topK: 1, random: random(9) };
      assert.deepEqual(run(options), run({ maxTokens: 10 }));
    });

    it('a seed fixes what is drawn', () => {
      const sampled = (seed: number) =>
        run({ maxTokens: 20, temperature: 1.5, random: random(seed) });
      assert.deepEqual(sampled(1), sampled(1));
      assert.notDeepEqual(sampled(1), sampled(2));
    });

    it('stops at a stop token, which it keeps to itself', () => {
      const free = run({ maxTokens: 12 });
      const stop = free[4];
      const until = free.indexOf(stop);
      assert.deepEqual(
        run({ maxTokens: 12, stopTokens: [TINY.vocabSize, stop] }),
        free.slice(0, until),
      );
    });

    it('stops at the end of the context', () => {
      const context = TINY.maxPositionEmbeddings;
      const made = run({ maxTokens: 1000 });
      // The last token drawn has no place of its own in the context and needs none.
      assert.equal(made.length, context - prompt.length + 1);
      assert.equal(run({ maxTokens: 5 }, [...tinyIds(context)]).length, 1);
      assert.throws(() => run({ maxTokens: 5 }, [...tinyIds(context + 1)]), UsageError);
    });

    it('makes nothing of nothing', () => {
      assert.throws(() => run({ maxTokens: 5 }, []), UsageError);
      assert.deepEqual(run({ maxTokens: 0 }), []);
    });

    it('gives its cache back: run out, stopped early, or failed', () => {
      const before = live(backend).bytes;
      run({ maxTokens: 8 });
      assert.equal(live(backend).bytes, before, 'run out');
      for (const _ of generate(model, prompt, { maxTokens: 8 })) break;
      assert.equal(live(backend).bytes, before, 'stopped early');
      const broken: Backbone = Object.create(model, {
        logits: {
          value: () => {
            throw new RangeError('broken');
          },
        },
      });
      assert.throws(() => [...generate(broken, prompt, { maxTokens: 8 })], RangeError);
      assert.equal(live(backend).bytes, before, 'failed');
    });
  });
}
