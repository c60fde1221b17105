import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkEngine, prepareBench, relativeDistance } from '../../../src/cli/bench-engine.ts';
import { loadEngine } from '../../../src/cli/load-engine.ts';
import { DeviceEngine } from '../../../src/device/index.ts';
import type { Backbone } from '../../../src/model/index.ts';
import { tensor } from '../../../src/tensor/index.ts';
import { tinyFolder } from '../../support/tiny-models.ts';

const load = async (name: string, precision: 'f32' | 'int8' | 'int4' = 'f32') =>
  (await loadEngine({ path: tinyFolder(name).path, precision, backend: 'wasm' })).engine;

/** The same model with some of what it does replaced. */
function altered(engine: DeviceEngine, changes: Partial<Backbone>): DeviceEngine {
  const backbone = new Proxy(engine.backbone, {
    get: (target, key) => {
      const value = (changes as Record<PropertyKey, unknown>)[key] ?? Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return new DeviceEngine(backbone, engine.tokenizer);
}

test('distances are shares of the spread; what is not finite has none', () => {
  const of = (...values: number[]) => Float32Array.from(values);
  assert.equal(relativeDistance(of(1, 3), of(1, 3)), 0);
  // The difference has norm 1, the values around their mean of 2 have sqrt(2).
  assert.equal(relativeDistance(of(1, 3), of(1, 4)), Math.SQRT1_2);
  assert.ok(Number.isNaN(relativeDistance(of(1, 3), of(1, Number.NaN))));
  assert.ok(Number.isNaN(relativeDistance(of(Number.POSITIVE_INFINITY, 3), of(1, 3))));
  assert.equal(relativeDistance(of(2, 2), of(2, 3)), Number.POSITIVE_INFINITY);
});

for (const name of ['llama', 'gpt2', 'opt', 'qwen3', 'bert']) {
  test(`${name}: both ways agree, and every test runs as many tokens as it says`, async () => {
    const engine = await load(name, 'int8');
    const check = checkEngine(engine);
    assert.match(check.compared, name === 'bert' ? /in a batch/ : /token by token/);
    const before = engine.backbone.backend.memory();
    const pp = prepareBench(engine, { kind: 'pp', tokens: 7, batch: 1 });
    assert.deepEqual([pp().tokens, pp().bytes], [7, 0]);
    if (name !== 'bert') {
      const tg = prepareBench(engine, { kind: 'tg', tokens: 5, batch: 1 });
      assert.equal(tg().tokens, 5);
      const { maxPositionEmbeddings: all } = engine.backbone.config;
      assert.equal(prepareBench(engine, { kind: 'tg', tokens: all, batch: 1 })().tokens, all);
    }
    const taps = { layers: [1, 2], kinds: ['last', 'mean'] as const, bits: 4 as const };
    const step = prepareBench(engine, { kind: 'step', tokens: 12, batch: 3, taps });
    const run = step();
    assert.equal(run.bytes, step().bytes);
    assert.ok(run.bytes > 0 && run.bytes % 3 === 0);
    // A text may have to stay short of the length by what a letter more takes.
    assert.ok(run.tokens <= 36 && run.tokens >= 30, `${run.tokens}`);
    assert.equal(engine.backbone.backend.memory().bytes, before.bytes);
    engine.dispose();
  });
}

test('a decoder whose numbers are not finite, or whose cache is not used, is not timed', async () => {
  const engine = await load('llama');
  const { backbone } = engine;
  const ill = altered(engine, {
    logits: (hidden) => {
      const logits = backbone.logits(hidden).toFloat32();
      logits[3] = Number.NaN;
      return tensor(logits, [1, logits.length], { backend: backbone.backend });
    },
  });
  assert.throws(() => checkEngine(ill), {
    code: 'E_BACKEND',
    message: /at the end are not finite/,
  });
  const forgetful = altered(engine, {
    forward: ({ past: _, extendPast: __, ...batch }, tap) => backbone.forward(batch, tap),
  });
  assert.throws(() => checkEngine(forgetful), {
    code: 'E_BACKEND',
    message: /differ by .* behind layer 1, where 0\.0001 is allowed; nothing was timed/,
  });
  engine.dispose();
});

test('an encoder whose batches reach into each other is not timed', async () => {
  const engine = await load('bert');
  const { backbone } = engine;
  const leaking = altered(engine, {
    forward: ({ ids }, tap) => backbone.forward({ ids, lengths: [ids.length] }, tap),
  });
  assert.throws(() => checkEngine(leaking), { code: 'E_BACKEND', message: /behind layer 1/ });
  engine.dispose();
});
