import type { Backend } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { Gpt2, type Gpt2Config } from './gpt2.ts';
import { ACTIVATION_NAMES } from './nn/activation.ts';
import { type LoadProgress, layers, loadPlan, matrix, table, vector } from './weight-plan.ts';
import type { GgufFile } from './weights/gguf.ts';
import { GgufConfig } from './weights/gguf-config.ts';
import { layerNames } from './weights/gguf-source.ts';
import { HfConfig } from './weights/hf-config.ts';
import { prefixedNames } from './weights/safetensors-source.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** GGUF's name of one of a GPT-2's tensors. */
export const gpt2GgufName = layerNames({
  embedTokens: 'token_embd.weight',
  embedPositions: 'position_embd.weight',
  norm: 'output_norm.weight',
  normBias: 'output_norm.bias',
  lmHead: 'output.weight',
  'layers.N.attentionNorm': 'blk.N.attn_norm.weight',
  'layers.N.attentionNormBias': 'blk.N.attn_norm.bias',
  'layers.N.qkvProj': 'blk.N.attn_qkv.weight',
  'layers.N.qkvProjBias': 'blk.N.attn_qkv.bias',
  'layers.N.oProj': 'blk.N.attn_output.weight',
  'layers.N.oProjBias': 'blk.N.attn_output.bias',
  'layers.N.mlpNorm': 'blk.N.ffn_norm.weight',
  'layers.N.mlpNormBias': 'blk.N.ffn_norm.bias',
  'layers.N.upProj': 'blk.N.ffn_up.weight',
  'layers.N.upProjBias': 'blk.N.ffn_up.bias',
  'layers.N.downProj': 'blk.N.ffn_down.weight',
  'layers.N.downProjBias': 'blk.N.ffn_down.bias',
});

const HUGGING_FACE_NAME = layerNames({
  embedTokens: 'wte.weight',
  embedPositions: 'wpe.weight',
  norm: 'ln_f.weight',
  normBias: 'ln_f.bias',
  'layers.N.attentionNorm': 'h.N.ln_1.weight',
  'layers.N.attentionNormBias': 'h.N.ln_1.bias',
  'layers.N.qkvProj': 'h.N.attn.c_attn.weight',
  'layers.N.qkvProjBias': 'h.N.attn.c_attn.bias',
  'layers.N.oProj': 'h.N.attn.c_proj.weight',
  'layers.N.oProjBias': 'h.N.attn.c_proj.bias',
  'layers.N.mlpNorm': 'h.N.ln_2.weight',
  'layers.N.mlpNormBias': 'h.N.ln_2.bias',
  'layers.N.upProj': 'h.N.mlp.c_fc.weight',
  'layers.N.upProjBias': 'h.N.mlp.c_fc.bias',
  'layers.N.downProj': 'h.N.mlp.c_proj.weight',
  'layers.N.downProjBias': 'h.N.mlp.c_proj.bias',
});

/** Where a folder of a GPT-2 may hold one of our tensors, with and without a head. */
export function gpt2TensorNames(ours: string): readonly string[] {
  return ours === 'lmHead'
    ? ['lm_head.weight']
    : prefixedNames(HUGGING_FACE_NAME, ['transformer.', ''])(ours);
}

/** Whether a folder holds the matrix as `[in, out]`: those of layers, which are `Conv1D` there. */
export function isGpt2Transposed(ours: string): boolean {
  return /^layers\..*Proj$/.test(ours);
}

/**
 * GPT-2's configuration out of GGUF metadata.
 * @throws FormatError as `llamaConfigFromGguf`
 */
export function gpt2ConfigFromGguf(file: GgufFile): Gpt2Config {
  const config = new GgufConfig(file, 'gpt2');
  const embedding = file.tensors.get('token_embd.weight');
  if (!embedding) throw config.fail('tensor token_embd.weight is missing');
  const hiddenSize = config.count('embedding_length');
  const heads = config.count('attention.head_count');
  if (hiddenSize % heads !== 0) {
    throw config.fail(`${heads} heads do not make a width of ${hiddenSize}`);
  }
  return {
    modelType: 'gpt2',
    hiddenSize,
    numAttentionHeads: heads,
    numKeyValueHeads: heads,
    headDim: hiddenSize / heads,
    numHiddenLayers: config.count('block_count'),
    intermediateSize: config.count('feed_forward_length', 4 * hiddenSize),
    maxPositionEmbeddings: config.count('context_length'),
    vocabSize: embedding.shape[0],
    layerNormEps: config.number('attention.layer_norm_epsilon'),
    activation: 'gelu_new',
    tieWordEmbeddings: !file.tensors.has('output.weight'),
  };
}

/**
 * GPT-2's configuration out of a folder's config.json.
 * @throws FormatError (E_MODEL_ARCHITECTURE) for a key or a value that this forward pass does not
 * know, by name; (E_MODEL) for a number that is missing or makes no model
 */
export function gpt2ConfigFromJson(json: unknown, name: string): Gpt2Config {
  const config = new HfConfig(json, name);
  config.expect('model_type', 'gpt2');
  config.expect('is_encoder_decoder', false, false);
  config.expect('add_cross_attention', false, false);
  config.expect('scale_attn_weights', true, true);
  config.expect('scale_attn_by_inverse_layer_idx', false, false);
  // Scores in f32, which is what they are here.
  config.flag('reorder_and_upcast_attn', false);
  const hiddenSize = config.count('n_embd');
  const heads = config.count('n_head');
  if (hiddenSize % heads !== 0) {
    throw config.fail(`${heads} heads do not make a width of ${hiddenSize}`);
  }
  const read: Gpt2Config = {
    modelType: 'gpt2',
    hiddenSize,
    numAttentionHeads: heads,
    numKeyValueHeads: heads,
    headDim: hiddenSize / heads,
    numHiddenLayers: config.count('n_layer'),
    intermediateSize: config.optionalCount('n_inner') ?? 4 * hiddenSize,
    maxPositionEmbeddings: config.count('n_positions'),
    vocabSize: config.count('vocab_size'),
    layerNormEps: config.number('layer_norm_epsilon', 1e-5),
    activation: config.oneOf('activation_function', ACTIVATION_NAMES, 'gelu_new'),
    tieWordEmbeddings: config.flag('tie_word_embeddings', true),
  };
  config.finish([
    ...['attn_pdrop', 'embd_pdrop', 'resid_pdrop', 'n_ctx'],
    // Of a classifier's head.
    ...['summary_activation', 'summary_first_dropout', 'summary_proj_to_labels'],
    ...['summary_type', 'summary_use_proj'],
  ]);
  return read;
}

/** All weights that `loadGpt2` asks of its source. */
export function gpt2Weights(config: Gpt2Config) {
  const { hiddenSize: d, intermediateSize: inner, vocabSize } = config;
  return {
    embedTokens: matrix(vocabSize, d),
    embedPositions: table(config.maxPositionEmbeddings, d),
    layers: layers(config.numHiddenLayers, {
      attentionNorm: vector(d),
      attentionNormBias: vector(d),
      qkvProj: matrix(3 * d, d),
      qkvProjBias: vector(3 * d),
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
 * Builds a GPT-2 from its weights, matrix by matrix.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadGpt2(
  config: Gpt2Config,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Gpt2> {
  const params = await loadPlan(gpt2Weights(config), source, precision, backend, onProgress);
  return new Gpt2(config, params, precision, backend);
}
