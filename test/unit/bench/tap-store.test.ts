import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { TapStore } from '../../../bench/tap-store.ts';
import { DeviceEngine, type TapPlan } from '../../../src/device/index.ts';
import { cpuBackend } from '../../../src/tensor/index.ts';
import { TINY, tinyLlama } from '../../support/tiny-llama.ts';
import { toyTokenizer } from '../../support/toy-tokenizer.ts';

const PLAN: TapPlan = {
  template: '{text} is:',
  labels: ['up', 'down'],
  prefix: '',
  maxSeqLength: 32,
  layers: [2],
  kinds: ['template', 'last'],
  bits: 4,
};
const ROWS = ['abc', 'a longer one', 'z'].map((text) => ({ text, label: 'up' }));
const SOURCE = { model: 'm', precision: 'f32', layerCount: 2, width: TINY.hiddenSize };

describe('a store of taps', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'taps-'));
  const engine = new DeviceEngine(await tinyLlama(cpuBackend()), toyTokenizer);
  after(() => {
    engine.dispose();
    rmSync(folder, { recursive: true });
  });
  const open = (plan = PLAN, where: string | undefined = folder) =>
    new TapStore(SOURCE, plan, ['last', 'mean', 'template'], where);

  it('gives what the engine pools, from memory and from its file', () => {
    const store = open();
    store.add(engine, ROWS.slice(0, 2));
    const again = open();
    again.add(engine, ROWS);
    engine.usePlan(PLAN);
    for (const row of ROWS) {
      const [expected] = engine.pool([row]).taps;
      assert.deepEqual(again.get(row), expected);
      if (row !== ROWS[2]) assert.deepEqual(store.get(row), expected);
    }
  });

  it('runs nothing twice, chooses other layers and kinds, and cuts off a broken end', () => {
    appendFileSync(join(folder, readdirSync(folder)[0]), 'torn');
    const plan: TapPlan = { ...PLAN, layers: [1, 2], kinds: ['mean'] };
    const store = open(plan);
    // No engine: it has to be there.
    store.add(undefined as unknown as DeviceEngine, ROWS);
    engine.usePlan(plan);
    const { taps } = engine.pool([ROWS[1]]);
    assert.deepEqual(
      [...store.get(ROWS[1])],
      taps.flatMap((layer) => [...layer]),
    );
  });
});
