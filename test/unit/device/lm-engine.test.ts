import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { diskFolder } from '../../../src/cli/model-files.ts';
import type { Sample } from '../../../src/data/index.ts';
import {
  DeviceEngine,
  lossTokens,
  prefixIds,
  type TapPlan,
  type WordedSample,
  wordSample,
} from '../../../src/device/index.ts';
import {
  createSideModel,
  generate,
  type LoadedAdapter,
  openFolderModel,
  openHfFolder,
} from '../../../src/model/index.ts';
import { rmsNormRows } from '../../../src/model/side/taps.ts';
import { cpuBackend, random, type Tensor } from '../../../src/tensor/index.ts';
import { channelAffine, plainAffine, SIDE_OPTIONS } from '../../support/side.ts';
import { tinyFolder } from '../../support/tiny-models.ts';
import { toyTokenizer } from '../../support/toy-tokenizer.ts';

const ROWS: Sample[] = [
  { text: 'ab', label: 'cd' },
  { text: 'a longer one', label: 'x' },
];

const LM = { shape: 'prompt', chat: false, maskPrompt: true } as const;

/** Attention over the same keys, some of them out of a cache. */
const REORDERED = 1e-5;

/** The RMS norm that taps have been through, with an eps of its own, and a second f32 rounding. */
const NORMED_TWICE = 1e-3;

// Models whose final norm is an RMS norm, and a layer norm with a bias.
for (const name of ['llama', 'gpt2']) {
  describe(`a tuned ${name}`, async () => {
    const backend = cpuBackend();
    const reader = diskFolder(tinyFolder(name).path);
    const model = await openFolderModel(await openHfFolder(reader));
    const backbone = await model.load(model.weights(''), 'f32', backend);
    await reader.close();
    after(() => backbone.dispose());
    const engine = new DeviceEngine(backbone, model.tokenizer);
    const { hiddenSize: width, numHiddenLayers } = model.config;
    const layers = Array.from({ length: numHiddenLayers }, (_, i) => i + 1);
    const plan: TapPlan = {
      ...{ template: '{text}:', labels: [], prefix: '', maxSeqLength: 30, layers, bits: 4 },
      kinds: ['token'],
      lm: LM,
    };
    engine.usePlan(plan);
    const shape = { layers: layers.length, width, kinds: 1, classes: 0 };
    const side = createSideModel('parallel', shape, { ...SIDE_OPTIONS, head: 'gated' });
    const adapterOf = (size: number): LoadedAdapter => {
      const rng = random(3);
      const params = side.init(rng, backend);
      for (const up of params.up as Tensor[]) {
        up.write(Float32Array.from({ length: up.numel }, () => size * rng.normal()));
      }
      const standardizer = channelAffine(shape, 1);
      return { model: side, params, standardizer, calibration: plainAffine(shape) };
    };
    const prompt = model.tokenizer.encode('ab:');
    const made = (adapter?: LoadedAdapter) => [
      ...generate(backbone, prompt, {
        maxTokens: 8,
        tuner: adapter && engine.tuner(adapter),
      }),
    ];

    it('is the frozen model as long as its adapters add nothing, and another one then', () => {
      const fresh = engine.score(adapterOf(0), ROWS);
      assert.ok(fresh.scored > 2 && fresh.tokens > fresh.scored);
      assert.ok(Math.abs(fresh.tunedLoss - fresh.baseLoss) < NORMED_TWICE * fresh.baseLoss);
      const tuned = engine.score(adapterOf(1), ROWS);
      assert.equal(tuned.baseLoss, fresh.baseLoss);
      assert.ok(Math.abs(tuned.tunedLoss - tuned.baseLoss) > 0.01);
      assert.deepEqual(made(adapterOf(0)), made());
      assert.notDeepEqual(made(adapterOf(3)), made());
    });

    it('decodes with a cache as it reads the whole text at once', () => {
      const adapter = adapterOf(1);
      const [first, ...rest] = made(adapter);
      const [again] = [
        ...generate(backbone, [...prompt, first], { maxTokens: 1, tuner: engine.tuner(adapter) }),
      ];
      assert.equal(again, rest[0]);
    });

    it('adds the work of one token for each token made: the side network sees one row at a time', () => {
      const tuner = engine.tuner(adapterOf(1));
      const rows: number[] = [];
      const counting = {
        layers: tuner.layers,
        tune(taps: readonly Float32Array[]) {
          for (const tap of taps) rows.push(tap.length / width);
          return tuner.tune(taps);
        },
      };
      const tokens = [...generate(backbone, prompt, { maxTokens: 8, tuner: counting })];
      assert.deepEqual(tokens, made(adapterOf(1)));
      // Of the prompt, too, the last token alone: nothing of what was before is looked at again.
      assert.deepEqual(rows, Array(tokens.length * layers.length).fill(1));
    });

    it('computes no padding: rows of a batch lie end to end', () => {
      const long: Sample = { text: 'a'.repeat(20), label: 'cdcdcd' };
      const batch = [ROWS[0], long, ROWS[1], long];
      const lengths = batch.map(
        (row) => wordSample(model.tokenizer, row, plan, undefined).ids.length,
      );
      assert.ok(Math.max(...lengths) > 2 * Math.min(...lengths));
      const seen: number[] = [];
      const forward = backbone.forward.bind(backbone);
      backbone.forward = (input, tap) =>
        forward(input, (layer, hidden) => {
          seen.push(hidden.shape[0]);
          tap?.(layer, hidden);
        });
      try {
        const { tokens } = engine.pool(batch);
        const sum = lengths.reduce((a, b) => a + b, 0);
        assert.equal(tokens, sum);
        // The embedding and every layer.
        assert.ok(seen.length >= numHiddenLayers && seen.every((rows) => rows === sum), `${seen}`);
      } finally {
        backbone.forward = forward;
      }
    });

    describe('behind examples', () => {
      const shots: Sample[] = [
        { text: 'first', label: 'one' },
        { text: 'b', label: 'second' },
      ];
      const behind: TapPlan = { ...plan, lm: { ...LM, shots } };
      const idsOf = (row: Sample) => wordSample(model.tokenizer, row, plan, undefined).ids;
      const front = shots.flatMap((row) => [...idsOf(row)]);

      it('reads them once, each with its tokens of training, and every row after them', () => {
        const { prefixTokens } = engine.usePlan(behind);
        try {
          assert.equal(prefixTokens, front.length);
          assert.deepEqual(prefixIds(model.tokenizer, behind, undefined), front);
          const { taps } = engine.pool(ROWS);
          const last = taps[taps.length - 1];
          let at = 0;
          for (const row of ROWS) {
            const ids = Int32Array.from([...front, ...idsOf(row)]);
            const whole = backbone.forward({ ids, lengths: [ids.length] });
            const { positions } = lossTokens([
              wordSample(model.tokenizer, row, plan, undefined),
            ] as WordedSample[]);
            const values = rmsNormRows(whole.toFloat32(), width);
            whole.dispose();
            for (const position of positions) {
              for (let i = 0; i < width; i++) {
                const there = values[(front.length + position) * width + i];
                const here = last[at++];
                assert.ok(Math.abs(there - here) < REORDERED * (1 + Math.abs(there)));
              }
            }
          }
          assert.equal(at, last.length);
        } finally {
          engine.usePlan(plan);
        }
      });

      it('scores and generates as if they stood in every prompt', () => {
        const adapter = adapterOf(1);
        const alone = engine.score(adapter, ROWS);
        engine.usePlan(behind);
        try {
          const scores = engine.score(adapter, ROWS);
          assert.equal(scores.scored, alone.scored);
          assert.equal(scores.tokens, alone.tokens);
          assert.ok(Math.abs(scores.baseLoss - alone.baseLoss) > 0.01);
          const options = { maxTokens: 6, tuner: engine.tuner(adapter) };
          const whole = [...generate(backbone, [...front, ...prompt], options)];
          const past = engine.promptPrefix;
          for (let again = 0; again < 2; again++) {
            assert.deepEqual([...generate(backbone, prompt, { ...options, past })], whole);
          }
          assert.equal(past?.length, front.length);
        } finally {
          engine.usePlan(plan);
        }
      });
    });

    it('sends a row for each token whose next one is in the loss', () => {
      engine.calibrate(ROWS);
      const { taps, next, samples } = engine.encode(ROWS);
      assert.equal(samples, 2);
      const count = next?.labels.length ?? 0;
      assert.equal(
        count,
        next?.counts.reduce((a, b) => a + b, 0),
      );
      const rowBytes = 2 * Math.ceil(width / 64) + Math.ceil(width / 2);
      for (const bytes of taps) assert.equal(bytes.length, count * rowBytes);
    });
  });
}

it('a plan without the last layer is refused', async () => {
  const reader = diskFolder(tinyFolder('llama').path);
  const model = await openFolderModel(await openHfFolder(reader));
  const backbone = await model.load(model.weights(''), 'f32', cpuBackend());
  await reader.close();
  const engine = new DeviceEngine(backbone, toyTokenizer);
  const lm = { shape: 'text', chat: false, maskPrompt: true } as const;
  const plan = { template: '', labels: [], prefix: '', maxSeqLength: 9, bits: 4 } as const;
  assert.throws(() => engine.usePlan({ ...plan, layers: [1], kinds: ['token'], lm }), {
    message: /^--layers: a language model is tuned at its output, so the last layer, \d+, must/,
  });
  engine.dispose();
});
