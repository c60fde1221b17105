import type { Backend } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { ACTIVATION_NAMES } from './nn/activation.ts';
import { OPT_POSITION_OFFSET, Opt, type OptConfig } from './opt.ts';
import { type LoadProgress, layers, loadPlan, matrix, table, vector } from './weight-plan.ts';
import { layerNames } from './weights/gguf-source.ts';
import { HfConfig } from './weights/hf-config.ts';
import { prefixedNames } from './weights/safetensors-source.ts';
import type { WeightSource } from './weights/weight-source.ts';

const HUGGING_FACE_NAME = layerNames({
  embedTokens: 'embed_tokens.weight',
  embedPositions: 'embed_positions.weight',
  norm: 'final_layer_norm.weight',
  normBias: 'final_layer_norm.bias',
  'layers.N.attentionNorm': 'layers.N.self_attn_layer_norm.weight',
  'layers.N.attentionNormBias': 'layers.N.self_attn_layer_norm.bias',
  'layers.N.qProj': 'layers.N.self_attn.q_proj.weight',
  'layers.N.qProjBias': 'layers.N.self_attn.q_proj.bias',
  'layers.N.kProj': 'layers.N.self_attn.k_proj.weight',
  'layers.N.kProjBias': 'layers.N.self_attn.k_proj.bias',
  'layers.N.vProj': 'layers.N.self_attn.v_proj.weight',
  'layers.N.vProjBias': 'layers.N.self_attn.v_proj.bias',
  'layers.N.oProj': 'layers.N.self_attn.out_proj.weight',
  'layers.N.oProjBias': 'layers.N.self_attn.out_proj.bias',
  'layers.N.mlpNorm': 'layers.N.final_layer_norm.weight',
  'layers.N.mlpNormBias': 'layers.N.final_layer_norm.bias',
  'layers.N.upProj': 'layers.N.fc1.weight',
  'layers.N.upProjBias': 'layers.N.fc1.bias',
  'layers.N.downProj': 'layers.N.fc2.weight',
  'layers.N.downProjBias': 'layers.N.fc2.bias',
});

/** Where a folder of an OPT may hold one of our tensors, with and without a head. */
export function optTensorNames(ours: string): readonly string[] {
  return ours === 'lmHead'
    ? ['lm_head.weight']
    : prefixedNames(HUGGING_FACE_NAME, ['model.decoder.', 'decoder.', ''])(ours);
}

/**
 * OPT's configuration out of a folder's config.json.
 * @throws FormatError (E_MODEL_ARCHITECTURE) for a key or a value that this forward pass does not
 * know, by name; (E_MODEL) for a number that is missing or makes no model
 */
export function optConfigFromJson(json: unknown, name: string): OptConfig {
  const config = new HfConfig(json, name);
  config.expect('model_type', 'opt');
  config.expect('is_encoder_decoder', false, false);
  config.expect('do_layer_norm_before', true, true);
  config.expect('_remove_final_layer_norm', false, false);
  config.expect('enable_bias', true, true);
  config.expect('layer_norm_elementwise_affine', true, true);
  const hiddenSize = config.count('hidden_size');
  config.expect('word_embed_proj_dim', hiddenSize, hiddenSize);
  const heads = config.count('num_attention_heads');
  if (hiddenSize % heads !== 0) {
    throw config.fail(`${heads} heads do not make a width of ${hiddenSize}`);
  }
  const read: OptConfig = {
    modelType: 'opt',
    hiddenSize,
    numAttentionHeads: heads,
    numKeyValueHeads: heads,
    headDim: hiddenSize / heads,
    numHiddenLayers: config.count('num_hidden_layers'),
    intermediateSize: config.count('ffn_dim'),
    maxPositionEmbeddings: config.count('max_position_embeddings'),
    vocabSize: config.count('vocab_size'),
    // Not in the file: PyTorch's default.
    layerNormEps: 1e-5,
    activation: config.oneOf('activation_function', ACTIVATION_NAMES, 'relu'),
    tieWordEmbeddings: config.flag('tie_word_embeddings', true),
  };
  config.finish([
    ...['attention_dropout', 'activation_dropout', 'dropout', 'layerdrop', 'init_std'],
    // What the prompt begins with is the tokenizer's.
    ...['prefix', 'forced_eos_token_id'],
  ]);
  return read;
}

/** All weights that `loadOpt` asks of its source. */
export function optWeights(config: OptConfig) {
  const { hiddenSize: d, intermediateSize: inner, vocabSize } = config;
  return {
    embedTokens: matrix(vocabSize, d),
    embedPositions: table(OPT_POSITION_OFFSET + config.maxPositionEmbeddings, d),
    layers: layers(config.numHiddenLayers, {
      attentionNorm: vector(d),
      attentionNormBias: vector(d),
      qProj: matrix(d, d),
      qProjBias: vector(d),
      kProj: matrix(d, d),
      kProjBias: vector(d),
      vProj: matrix(d, d),
      vProjBias: vector(d),
      oProj: matrix(d, d),
      oProjBias: vector(d),
      mlpNorm: vector(d),
      mlpNormBias: vector(d),
      upProj: matrix(inner, d),
      upProjBias: vector(inner),
      downProj: matrix(d, inner),
      downProjBias: vector(d),
    }),
    norm: vector(d),
    normBias: vector(d),
    lmHead: config.tieWordEmbeddings ? undefined : matrix(vocabSize, d),
  };
}

/**
 * Builds an OPT from its weights, matrix by matrix.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadOpt(
  config: OptConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Opt> {
  const params = await loadPlan(optWeights(config), source, precision, backend, onProgress);
  return new Opt(config, params, precision, backend);
}
