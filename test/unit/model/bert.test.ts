import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type Backbone,
  bertConfigFromJson,
  configOfFolder,
  type OpenedModel,
  openFolderModel,
  openHfFolder,
  randomWeightSource,
} from '../../../src/model/index.ts';
import { type Backend, cpuBackend, scope, UsageError } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { memoryFolder } from '../../support/memory-folder.ts';
import {
  naiveBert,
  TINY_BERT,
  TINY_BERT_JSON,
  TINY_TOKENIZER_JSON,
  tinyBertSafetensors,
} from '../../support/tiny-bert.ts';

/** Layer-normed rows of size 1 after two layers in f32; 2e-6 was measured. */
const CLOSE = 2e-5;

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

async function openTiny(
  options: { seed?: number; config?: object; weights?: Uint8Array } = {},
): Promise<OpenedModel> {
  const { seed = 1, config = {}, weights = tinyBertSafetensors(seed) } = options;
  const files = {
    'config.json': bytes({ ...TINY_BERT_JSON, ...config }),
    'tokenizer.json': bytes(TINY_TOKENIZER_JSON),
    'model.safetensors': weights,
  };
  return openFolderModel(await openHfFolder(memoryFolder('tiny', files)));
}

async function tiny(backend: Backend, weights?: Uint8Array): Promise<Backbone> {
  const opened = await openTiny({ weights });
  return opened.load(opened.weights('0'.repeat(64)), 'f32', backend);
}

/** Hidden states `[T, D]` after 0..L layers. */
function states(model: Backbone, lengths: number[], ids: number[], types?: number[]) {
  const taps: Float32Array[] = [];
  const tokenTypes = types && Int32Array.from(types);
  scope(() => {
    model.forward({ ids: Int32Array.from(ids), lengths, tokenTypes }, (_, hidden) => {
      taps.push(hidden.toFloat32());
    });
  });
  return taps;
}

for (const { name, backend } of backends()) {
  describe(`Bert on ${name}`, () => {
    const ids = [2, 8, 4, 6, 7, 3, 5, 6, 3];
    const types = [0, 0, 0, 0, 0, 0, 1, 1, 1];

    it('is what the paper says, token types included', async () => {
      const model = await tiny(backend);
      const got = states(model, [ids.length], ids, types);
      naiveBert(1, ids, types).forEach((rows, layer) => {
        rows.flat().forEach((want, i) => {
          const error = Math.abs(got[layer][i] - want);
          assert.ok(error <= CLOSE, `layer ${layer}, ${i}: ${got[layer][i]}, expected ${want}`);
        });
      });
      model.dispose();
    });

    it('keeps packed sequences apart, and sees what follows', async () => {
      const model = await tiny(backend);
      const alone = states(model, [4], ids.slice(0, 4)).at(-1) as Float32Array;
      const packed = states(model, [4, 5], ids).at(-1) as Float32Array;
      alone.forEach((x, i) => {
        assert.ok(Math.abs(x - packed[i]) <= CLOSE);
      });
      const whole = states(model, [9], ids).at(-1) as Float32Array;
      assert.ok(alone.some((x, i) => Math.abs(x - whole[i]) > 0.01));
      model.dispose();
    });

    it('gives all of its memory back', async () => {
      const before = backend.memory().allocations;
      const model = await tiny(backend);
      states(model, [3], [2, 4, 3]);
      model.dispose();
      assert.equal(backend.memory().allocations, before);
      const cut = openTiny({ config: { num_hidden_layers: 3 } });
      await assert.rejects(
        cut.then((opened) => opened.load(opened.weights(''), 'f32', backend)),
        {
          code: 'E_MODEL',
          message: /encoder\.layer\.2\.attention\.self\.query\.weight is missing/,
        },
      );
      assert.equal(backend.memory().allocations, before);
    });

    it('loads in integers, too', async () => {
      const opened = await openTiny();
      for (const precision of ['int8', 'int4'] as const) {
        const model = await opened.load(randomWeightSource(1), precision, backend);
        const hidden = states(model, [9], ids, types).at(-1) as Float32Array;
        assert.ok(hidden.every(Number.isFinite));
        model.dispose();
      }
    });
  });
}

describe('Bert', () => {
  it('reads tensors under the names of a model with a head', async () => {
    const backend = cpuBackend();
    const plain = await tiny(backend);
    const prefixed = await tiny(backend, tinyBertSafetensors(1, true));
    assert.deepEqual(states(prefixed, [3], [2, 4, 3]), states(plain, [3], [2, 4, 3]));
  });

  it('refuses what an encoder cannot do', async () => {
    const model = await tiny(cpuBackend());
    assert.equal(model.family, 'encoder');
    assert.throws(() => model.newCache(4), UsageError);
    assert.throws(
      () => scope(() => model.logits(model.forward({ ids: Int32Array.of(2), lengths: [1] }))),
      UsageError,
    );
    assert.throws(() => states(model, [17], new Array(17).fill(4)), /17 tokens exceeds/);
  });
});

describe('bertConfigFromJson', () => {
  const read = (changes: object) => bertConfigFromJson({ ...TINY_BERT_JSON, ...changes }, 'c.json');

  it('reads every number', () => {
    assert.deepEqual(read({}), TINY_BERT);
    assert.equal(read({ layer_norm_eps: undefined }).layerNormEps, 1e-12);
  });

  const refused: [object, string, RegExp][] = [
    [{ hidden_act: 'relu' }, 'E_MODEL_ARCHITECTURE', /hidden_act "relu"/],
    [{ hidden_act: undefined }, 'E_MODEL_ARCHITECTURE', /hidden_act null/],
    [{ position_embedding_type: 'relative_key' }, 'E_MODEL_ARCHITECTURE', /"relative_key"/],
    [{ is_decoder: true }, 'E_MODEL_ARCHITECTURE', /is_decoder true/],
    [{ rope_scaling: null }, 'E_MODEL_ARCHITECTURE', /"rope_scaling" is not known/],
    [{ num_attention_heads: 5 }, 'E_MODEL', /5 heads/],
    [{ hidden_size: '12' }, 'E_MODEL', /hidden_size/],
    [{ vocab_size: 1.5 }, 'E_MODEL', /vocab_size/],
    [{ num_hidden_layers: undefined }, 'E_MODEL', /num_hidden_layers/],
  ];
  for (const [changes, code, message] of refused) {
    it(`refuses ${JSON.stringify(changes)}`, () => {
      assert.throws(() => read(changes), { code, message });
    });
  }
});

describe('openFolderModel', () => {
  it('refuses another model_type by name', async () => {
    await assert.rejects(openTiny({ config: { model_type: 'mamba' } }), {
      code: 'E_MODEL_ARCHITECTURE',
      message: /tiny\/config\.json: model_type "mamba" is not supported; .*bert/,
    });
    for (const config of [{}, null, [], 'bert', { model_type: ['bert'] }]) {
      assert.throws(() => configOfFolder({ json: config, name: 'c' }), {
        code: 'E_MODEL_ARCHITECTURE',
      });
    }
    assert.equal(configOfFolder({ json: TINY_BERT_JSON, name: 'c' }).family, 'encoder');
  });

  it('names the file that is no JSON', async () => {
    const folder = memoryFolder('m', { 'config.json': new TextEncoder().encode('{"a":\n') });
    await assert.rejects(openHfFolder(folder), {
      code: 'E_MODEL',
      message: /^m\/config\.json: [^\n]*$/,
    });
  });
});
