import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { Sample } from '../../../src/data/index.ts';
import { DeviceEngine, type TapPlan } from '../../../src/device/index.ts';
import {
  type Backbone,
  createSideModel,
  decodeSample,
  type LayerTap,
  type LoadedAdapter,
  layersToSamples,
  type PackedBatch,
} from '../../../src/model/index.ts';
import { type Backend, cpuBackend, type Tree, tensor } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { assertClose } from '../../support/close.ts';
import { channelAffine, SIDE_OPTIONS } from '../../support/side.ts';
import { TINY, tinyLlama } from '../../support/tiny-llama.ts';
import { toyTokenizer } from '../../support/toy-tokenizer.ts';

const PLAN: TapPlan = {
  template: '{text}:',
  labels: ['up', 'down'],
  prefix: '',
  maxSeqLength: 16,
  layers: [0, 1, 2],
  kinds: ['last', 'mean'],
  bits: 4,
};
const WIDTH = TINY.hiddenSize;

/** Sums in another order: of attention in blocks of the past, of matmuls in other tiles. */
const REORDERED = 1e-4;

const row = (text: string, textPair?: string): Sample => ({ text, textPair, label: 'up' });
const ROWS = [row('abc'), row('a longer one'), row('z')];

/** An engine over a tiny model, and the ids of every batch that went through it. */
async function engineOn(backend: Backend): Promise<{ engine: DeviceEngine; seen: string[][] }> {
  const llama = await tinyLlama(backend);
  const seen: string[][] = [];
  const spy: Backbone = Object.assign(Object.create(llama), {
    forward(batch: PackedBatch, tap?: LayerTap) {
      let start = 0;
      seen.push(
        batch.lengths.map((length) => {
          start += length;
          return toyTokenizer.decode(batch.ids.subarray(start - length, start));
        }),
      );
      return llama.forward(batch, tap);
    },
  });
  return { engine: new DeviceEngine(spy, toyTokenizer), seen };
}

describe('a plan', async () => {
  const { engine } = await engineOn(cpuBackend());
  after(() => engine.dispose());

  it('is refused with layers that the model does not have', () => {
    for (const layers of [[], [3], [1, -1], [1.5]]) {
      assert.throws(() => engine.usePlan({ ...PLAN, layers }), {
        name: 'UsageError',
        message: /^--layers: .* given, the model has layers 1 to 2/,
      });
    }
  });

  it('is refused where it taps the words behind the text, and there are none', () => {
    assert.throws(() => engine.usePlan({ ...PLAN, template: 'a {text}', kinds: ['template'] }), {
      name: 'UsageError',
      message: /^--taps: template is the mean over its words behind the text/,
    });
  });

  it('is refused with a prefix that leaves no room in the context', () => {
    const room = TINY.maxPositionEmbeddings - PLAN.maxSeqLength;
    assert.deepEqual(engine.usePlan({ ...PLAN, prefix: 'x'.repeat(room) }), { prefixTokens: room });
    assert.throws(() => engine.usePlan({ ...PLAN, prefix: 'x'.repeat(room + 1) }), {
      name: 'UsageError',
      message: /^--prefix-shots: 33 tokens .* 16 of a sample exceed the context of 48/,
    });
  });

  it('comes first, then calibration, then encoding; another plan forgets the calibration', async () => {
    const { engine: fresh } = await engineOn(cpuBackend());
    assert.throws(() => fresh.encode(ROWS), { name: 'UsageError', message: /usePlan/ });
    fresh.usePlan(PLAN);
    assert.throws(() => fresh.encode(ROWS), { name: 'UsageError', message: /calibrate/ });
    fresh.calibrate(ROWS);
    fresh.encode(ROWS);
    fresh.usePlan(PLAN);
    assert.throws(() => fresh.encode(ROWS), { name: 'UsageError', message: /calibrate/ });
    fresh.dispose();
  });
});

describe('a sample too long for the plan', async () => {
  const { engine, seen } = await engineOn(cpuBackend());
  after(() => engine.dispose());
  const fed = (plan: Partial<TapPlan>, ...rows: Sample[]) => {
    engine.usePlan({ ...PLAN, ...plan });
    const { truncated, tokens } = engine.pool(rows);
    const ids = seen.at(-1) as string[];
    assert.equal(tokens, ids.join('').length);
    return { ids, truncated };
  };

  it('loses the end of its text, not the words behind it', () => {
    assert.deepEqual(fed({ maxSeqLength: 6 }, row('abcdefghij'), row('abcde'), row('x')), {
      ids: ['abcde:', 'abcde:', 'x:'],
      truncated: 1,
    });
  });

  it('of a pair loses half of the excess from each, as far as both have it', () => {
    const plan = { template: '{text}|{text_pair}:', maxSeqLength: 12 };
    const long = 'abcdefghijklmnop';
    assert.deepEqual(fed(plan, row(long, long)).ids, ['abcde|abcde:']);
    assert.deepEqual(fed(plan, row('ab', long)).ids, ['|abcdefghij:']);
    assert.deepEqual(fed(plan, row(long, 'ab')).ids, ['abcdefghij|:']);
  });

  it('is cut until it fits where the template repeats the text', () => {
    const { ids } = fed({ template: '{text}{text}:', maxSeqLength: 7 }, row('abcdef'));
    assert.ok(ids[0].length <= 7 && ids[0].endsWith(':'), ids[0]);
  });

  it('is refused where the template alone is too long', () => {
    assert.throws(() => fed({ template: '{text}, and more words', maxSeqLength: 10 }, row('a')), {
      name: 'UsageError',
      message: /^--max-seq-length: 10 tokens do not hold the template/,
    });
  });

  it('without a single token becomes the token that ends a text', () => {
    assert.deepEqual(fed({ template: '{text}' }, row('é'), row('a')), {
      ids: [toyTokenizer.decode([96]), 'a'],
      truncated: 0,
    });
  });
});

for (const { name, backend } of backends()) {
  describe(`on ${name}`, async () => {
    const { engine } = await engineOn(backend);
    after(() => engine.dispose());

    it('pools a sample in a batch as it does alone', () => {
      engine.usePlan(PLAN);
      const together = engine.pool(ROWS);
      assert.deepEqual([together.samples, together.tokens, together.truncated], [3, 19, 0]);
      const block = PLAN.kinds.length * WIDTH;
      ROWS.forEach((one, b) => {
        engine.pool([one]).taps.forEach((alone, layer) => {
          const part = together.taps[layer].subarray(b * block, (b + 1) * block);
          assertClose(part, alone, REORDERED, `row ${b}, layer ${layer}`);
        });
      });
    });

    it('reads a prefix from its cache as if it stood in front of every sample', () => {
      const plan = { ...PLAN, kinds: ['last'] as const };
      const prefix = 'two shots: yes ';
      engine.usePlan({ ...plan, prefix });
      const cached = engine.pool(ROWS);
      engine.usePlan({ ...plan, maxSeqLength: 40 });
      const written = engine.pool(ROWS.map(({ text }) => row(prefix + text)));
      assert.equal(written.tokens - cached.tokens, 3 * prefix.length);
      cached.taps.forEach((taps, layer) => {
        assertClose(taps, written.taps[layer], REORDERED, `layer ${layer}`);
      });
    });

    it('encodes with the calibration it gave out, also when it is told it later', () => {
      engine.usePlan(PLAN);
      const calibration = engine.calibrate(ROWS);
      const first = engine.encode(ROWS);
      engine.usePlan(PLAN);
      engine.useCalibration(calibration);
      assert.deepEqual(engine.encode(ROWS), first);
    });

    it('classifies from the taps that were sent', () => {
      const plan = { ...PLAN, layers: [1, 2] };
      engine.usePlan(plan);
      const shape = { layers: 2, width: WIDTH, kinds: 2, classes: 2 };
      const standardizer = channelAffine(shape, 5);
      const calibration = engine.calibrate(ROWS);
      const features = 2 * WIDTH;
      const weight = Float32Array.from({ length: 2 * features }, (_, i) => Math.sin(i) / 8);
      const params: Tree = {
        weight: tensor(weight, [2, features], { backend }),
        bias: tensor(Float32Array.of(0, Math.log(3)), [2], { backend }),
      };
      const model = createSideModel('probe', shape, SIDE_OPTIONS);
      const adapter: LoadedAdapter = { model, params, standardizer, calibration };
      const batch = engine.encode(ROWS);
      const probabilities = engine.classify(adapter, batch);
      layersToSamples(batch.taps, ROWS.length).forEach((bytes, b) => {
        const taps = decodeSample(bytes, shape, { bits: plan.bits, calibration });
        const [a, z] = [0, 1].map((c) => {
          let logit = c * Math.log(3);
          for (let i = 0; i < features; i++) {
            const channel = features + i;
            const { mean, scale } = standardizer;
            logit += weight[c * features + i] * (taps[channel] - mean[channel]) * scale[channel];
          }
          return Math.exp(logit);
        });
        assertClose(probabilities[b], [a / (a + z), z / (a + z)], REORDERED, `row ${b}`);
      });
      for (const leaf of [params.weight, params.bias]) leaf.dispose();
    });

    it('holds memory flat over batches, classes and prefixes, and gives all back', async () => {
      const before = backend.memory().bytes;
      const { engine: other } = await engineOn(backend);
      const shape = { layers: 3, width: WIDTH, kinds: 2, classes: 2 };
      const model = createSideModel('probe', shape, SIDE_OPTIONS);
      const params: Tree = {
        weight: tensor(new Float32Array(4 * WIDTH), [2, 2 * WIDTH], { backend }),
        bias: tensor(new Float32Array(2), [2], { backend }),
      };
      other.usePlan({ ...PLAN, prefix: 'shots ' });
      const calibration = other.calibrate(ROWS);
      const adapter = { model, params, standardizer: calibration, calibration };
      const held = backend.memory().bytes;
      for (let i = 0; i < 20; i++) {
        const [first] = other.classify(adapter, other.encode(ROWS));
        assert.deepEqual([...first], [0.5, 0.5]);
      }
      assert.equal(backend.memory().bytes, held);
      other.usePlan({ ...PLAN, prefix: 'other ' });
      assert.equal(backend.memory().bytes, held);
      for (const leaf of [params.weight, params.bias]) leaf.dispose();
      other.dispose();
      assert.equal(backend.memory().bytes, before);
    });
  });
}
