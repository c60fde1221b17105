import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  gpt2ConfigFromJson,
  llamaConfigFromJson,
  optConfigFromJson,
  qwen2ConfigFromJson,
  qwen3ConfigFromJson,
} from '../../../src/model/index.ts';
import { tinyFolder } from '../../support/tiny-models.ts';

type Json = Record<string, unknown>;

const readers = {
  llama: llamaConfigFromJson,
  qwen2: qwen2ConfigFromJson,
  qwen3: qwen3ConfigFromJson,
  gpt2: gpt2ConfigFromJson,
  opt: optConfigFromJson,
};

type ModelType = keyof typeof readers;

function configOf(type: ModelType): Json {
  const { path } = tinyFolder(type === 'qwen2' ? 'qwen2-sharded' : type);
  return JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));
}

const read = (type: ModelType, changes: Json) =>
  readers[type]({ ...configOf(type), ...changes }, 'c.json');

/** As Llama 3.1's config.json has it. */
const LLAMA3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};

describe('config.json of a decoder', () => {
  const refused: [ModelType, Json, string, RegExp][] = [];
  const unknown = (type: ModelType, changes: Json, message: RegExp) =>
    refused.push([type, changes, 'E_MODEL_ARCHITECTURE', message]);
  const wrong = (type: ModelType, changes: Json, message: RegExp) =>
    refused.push([type, changes, 'E_MODEL', message]);

  for (const type of Object.keys(readers) as ModelType[]) {
    unknown(type, { model_type: 'mistral' }, /model_type "mistral" is not supported; built is/);
    unknown(type, { quantization_config: { bits: 4 } }, /"quantization_config" is not known/);
    unknown(type, { is_encoder_decoder: true }, /is_encoder_decoder true/);
    wrong(type, { vocab_size: 0 }, /vocab_size is missing or no positive number/);
    wrong(type, { tie_word_embeddings: 'yes' }, /tie_word_embeddings is neither true nor false/);
  }
  for (const type of ['llama', 'qwen2', 'qwen3'] as const) {
    unknown(type, { hidden_act: 'gelu' }, /hidden_act "gelu"/);
    unknown(type, { rope_parameters: { rope_type: 'yarn' } }, /rope_parameters: rope_type "yarn"/);
    unknown(
      type,
      { rope_parameters: null, rope_scaling: { type: 'linear', factor: 2 } },
      /rope_scaling: type "linear"/,
    );
    unknown(type, { rope_parameters: { ...LLAMA3, beta_fast: 32 } }, /"beta_fast" is not known/);
    unknown(type, { partial_rotary_factor: 0.5 }, /"partial_rotary_factor" is not known/);
    wrong(type, { rope_parameters: { ...LLAMA3, factor: -1 } }, /factor is missing or no positive/);
    wrong(type, { rope_parameters: { ...LLAMA3, high_freq_factor: 1 } }, /is not above low_freq/);
    wrong(type, { rope_parameters: 'default' }, /rope_parameters: it is no JSON object/);
    wrong(type, { num_key_value_heads: 3 }, /4 heads do not share 3/);
    wrong(type, { head_dim: 7 }, /heads do not make a width/);
  }
  unknown('llama', { attention_bias: true }, /attention_bias true/);
  unknown('llama', { mlp_bias: true }, /mlp_bias true/);
  unknown('llama', { rope_interleaved: true }, /rope_interleaved true/);
  unknown('llama', { sliding_window: 128 }, /"sliding_window" is not known/);
  unknown('qwen3', { attention_bias: true }, /attention_bias true/);
  unknown('qwen3', { num_experts: 8 }, /"num_experts" is not known/);
  for (const type of ['qwen2', 'qwen3'] as const) {
    unknown(type, { use_sliding_window: true }, /use_sliding_window true/);
    unknown(
      type,
      { layer_types: ['full_attention', 'sliding_attention'] },
      /layer_types "sliding_attention"/,
    );
    wrong(type, { layer_types: 'full_attention' }, /layer_types is no list/);
  }
  unknown('gpt2', { scale_attn_by_inverse_layer_idx: true }, /scale_attn_by_inverse_layer_idx/);
  unknown('gpt2', { scale_attn_weights: false }, /scale_attn_weights false/);
  unknown('gpt2', { add_cross_attention: true }, /add_cross_attention true/);
  unknown('gpt2', { activation_function: 'swish' }, /"swish" .*; built is "relu", "gelu"/);
  wrong('gpt2', { n_head: 5 }, /5 heads do not make a width of 32/);
  unknown('opt', { do_layer_norm_before: false }, /do_layer_norm_before false/);
  unknown('opt', { word_embed_proj_dim: 16 }, /word_embed_proj_dim 16/);
  unknown('opt', { enable_bias: false }, /enable_bias false/);
  unknown('opt', { layer_norm_elementwise_affine: false }, /layer_norm_elementwise_affine/);
  unknown('opt', { _remove_final_layer_norm: true }, /_remove_final_layer_norm true/);
  wrong('opt', { num_attention_heads: 5 }, /5 heads/);

  for (const [type, changes, code, message] of refused) {
    it(`${type} refuses ${JSON.stringify(changes)}`, () => {
      assert.throws(
        () => read(type, changes),
        (error: Error & { code: string }) => {
          assert.equal(error.code, code);
          assert.match(error.message, /^c\.json: [^\n]+$/);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  it('may be as transformers 4 wrote it', () => {
    const { rope_parameters: _, ...older } = configOf('llama');
    const old = { ...older, rope_theta: 500_000, rope_scaling: { ...LLAMA3, type: 'llama3' } };
    const config = llamaConfigFromJson(old, 'c.json');
    assert.equal(config.ropeTheta, 500_000);
    assert.deepEqual(config.ropeScaling, {
      type: 'llama3',
      ...{ factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 8192 },
    });
    const plain = llamaConfigFromJson({ ...older, rope_scaling: null }, 'c.json');
    assert.equal(plain.ropeScaling, undefined);
    assert.equal(plain.ropeTheta, 10_000);
    const legacy = { ...older, rope_scaling: { ...LLAMA3, rope_type: undefined, type: 'llama3' } };
    assert.equal(llamaConfigFromJson(legacy, 'c.json').ropeScaling?.type, 'llama3');
  });

  it('may leave out what follows from the rest', () => {
    const { head_dim: _, num_key_value_heads: __, ...llama } = configOf('llama');
    const config = llamaConfigFromJson(llama, 'c.json');
    assert.deepEqual([config.headDim, config.numKeyValueHeads], [8, 4]);
    assert.equal(read('gpt2', { n_inner: null }).intermediateSize, 128);
    assert.equal(read('gpt2', { n_inner: 40 }).intermediateSize, 40);
    // A window that is switched off, as Qwen2's checkpoints have it.
    assert.equal(read('qwen2', { sliding_window: 4096 }).hiddenSize, 32);
  });
});
