import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { DeviceEngine, type TapPlan } from '../../../src/device/index.ts';
import { type Backbone, tokenizerFromJson } from '../../../src/model/index.ts';
import { cpuBackend } from '../../../src/tensor/index.ts';
import { TINY_TOKENIZER_JSON, tinyBert } from '../../support/tiny-bert.ts';

const PLAN: TapPlan = {
  template: '{text}',
  labels: ['down', 'up'],
  prefix: '',
  maxSeqLength: 16,
  layers: [1, 2],
  kinds: ['first', 'mean'],
  bits: 4,
};
const PAIRS = { ...PLAN, template: '{text}{sep}{text_pair}' };

describe('a device with an encoder', async () => {
  const bert = await tinyBert(cpuBackend());
  const seen: { ids: number[]; tokenTypes: number[] | undefined }[] = [];
  const spy: Backbone = Object.assign(Object.create(bert), {
    forward: ((batch, tap) => {
      seen.push({ ids: [...batch.ids], tokenTypes: batch.tokenTypes && [...batch.tokenTypes] });
      return bert.forward(batch, tap);
    }) satisfies Backbone['forward'],
  });
  const engine = new DeviceEngine(spy, tokenizerFromJson(TINY_TOKENIZER_JSON, 't.json'));
  after(() => engine.dispose());
  const run = (plan: TapPlan, ...texts: [string, string?][]) => {
    engine.usePlan(plan);
    seen.length = 0;
    const rows = texts.map(([text, textPair]) => ({ text, textPair, label: 'up' }));
    return { ...engine.pool(rows), ...seen[0] };
  };

  it('sends [CLS] and the mean', () => {
    const { taps, ids, tokenTypes } = run(PLAN, ['the good film']);
    assert.deepEqual(ids, [2, 8, 4, 6, 3]);
    assert.equal(tokenTypes, undefined);
    const [last] = run({ ...PLAN, kinds: ['last'] }, ['the good film']).taps;
    const [first] = run({ ...PLAN, kinds: ['first'] }, ['the good film']).taps;
    assert.deepEqual(taps[0].slice(0, 12), first);
    assert.notDeepEqual(first, last);
  });

  it('reads pairs as two texts, also beside one that is empty', () => {
    const { ids, tokenTypes, taps } = run(PAIRS, ['good', 'bad film'], ['', '']);
    assert.deepEqual(ids, [2, 4, 3, 5, 6, 3, 2, 3, 3]);
    assert.deepEqual(tokenTypes, [0, 0, 0, 1, 1, 1, 0, 0, 1]);
    assert.ok(taps.flatMap((one) => [...one]).every(Number.isFinite));
    assert.throws(() => run(PAIRS, ['good']), { code: 'E_TEMPLATE' });
  });

  it('cuts texts that are too long, never [CLS] and [SEP]', () => {
    const one = run({ ...PLAN, maxSeqLength: 4 }, ['the good films.']);
    assert.deepEqual([one.ids, one.truncated], [[2, 8, 4, 3], 1]);
    // Three tokens too many: one from the second text, the rest from the first.
    const two = run({ ...PAIRS, maxSeqLength: 7 }, ['good bad film', 'the un the un']);
    assert.deepEqual(two.ids, [2, 4, 3, 8, 10, 8, 3]);
    assert.throws(() => run({ ...PLAN, maxSeqLength: 1 }, ['good']), /do not hold the template/);
  });

  it('refuses a prefix, and a model of one text a pair', async () => {
    assert.throws(
      () => engine.usePlan({ ...PLAN, prefix: 'good: up' }),
      /encoder and keeps no prefix/,
    );
    const { encodePair: _, ...single } = engine.tokenizer;
    const other = new DeviceEngine(bert, single);
    other.usePlan(PAIRS);
    assert.throws(() => other.pool([{ text: 'a', textPair: 'b', label: 'up' }]), {
      code: 'E_TEMPLATE',
    });
  });
});
