import type { Backend, FormatError } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { Llama, type LlamaConfig } from './llama.ts';
import { type LoadProgress, layers, loadPlan, matrix, vector } from './weight-plan.ts';
import type { GgufFile } from './weights/gguf.ts';
import { GgufConfig } from './weights/gguf-config.ts';
import { layerNames } from './weights/gguf-source.ts';
import { HfConfig } from './weights/hf-config.ts';
import { ropeOptions } from './weights/hf-rope.ts';
import { prefixedNames } from './weights/safetensors-source.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** GGUF's name of one of the tensors of a Llama, Qwen2 or Qwen3. `N` stands for the layer. */
export const llamaGgufName = layerNames({
  embedTokens: 'token_embd.weight',
  norm: 'output_norm.weight',
  lmHead: 'output.weight',
  ropeFactors: 'rope_freqs.weight',
  'layers.N.inputLayernorm': 'blk.N.attn_norm.weight',
  'layers.N.qProj': 'blk.N.attn_q.weight',
  'layers.N.qProjBias': 'blk.N.attn_q.bias',
  'layers.N.qNorm': 'blk.N.attn_q_norm.weight',
  'layers.N.kProj': 'blk.N.attn_k.weight',
  'layers.N.kProjBias': 'blk.N.attn_k.bias',
  'layers.N.kNorm': 'blk.N.attn_k_norm.weight',
  'layers.N.vProj': 'blk.N.attn_v.weight',
  'layers.N.vProjBias': 'blk.N.attn_v.bias',
  'layers.N.oProj': 'blk.N.attn_output.weight',
  'layers.N.postAttentionLayernorm': 'blk.N.ffn_norm.weight',
  'layers.N.gateProj': 'blk.N.ffn_gate.weight',
  'layers.N.upProj': 'blk.N.ffn_up.weight',
  'layers.N.downProj': 'blk.N.ffn_down.weight',
});

const HUGGING_FACE_NAME = layerNames({
  embedTokens: 'embed_tokens.weight',
  norm: 'norm.weight',
  'layers.N.inputLayernorm': 'layers.N.input_layernorm.weight',
  'layers.N.qProj': 'layers.N.self_attn.q_proj.weight',
  'layers.N.qProjBias': 'layers.N.self_attn.q_proj.bias',
  'layers.N.qNorm': 'layers.N.self_attn.q_norm.weight',
  'layers.N.kProj': 'layers.N.self_attn.k_proj.weight',
  'layers.N.kProjBias': 'layers.N.self_attn.k_proj.bias',
  'layers.N.kNorm': 'layers.N.self_attn.k_norm.weight',
  'layers.N.vProj': 'layers.N.self_attn.v_proj.weight',
  'layers.N.vProjBias': 'layers.N.self_attn.v_proj.bias',
  'layers.N.oProj': 'layers.N.self_attn.o_proj.weight',
  'layers.N.postAttentionLayernorm': 'layers.N.post_attention_layernorm.weight',
  'layers.N.gateProj': 'layers.N.mlp.gate_proj.weight',
  'layers.N.upProj': 'layers.N.mlp.up_proj.weight',
  'layers.N.downProj': 'layers.N.mlp.down_proj.weight',
});

/** Where a folder of a Llama, Qwen2 or Qwen3 may hold one of our tensors, with and without a head. */
export function llamaTensorNames(ours: string): readonly string[] {
  return ours === 'lmHead'
    ? ['lm_head.weight']
    : prefixedNames(HUGGING_FACE_NAME, ['model.', ''])(ours);
}

/**
 * Llama's configuration out of GGUF metadata.
 * @throws FormatError (E_MODEL_ARCHITECTURE) for another architecture or a variant that this
 * forward pass would compute wrongly, (E_MODEL) for a number that is missing or makes no model
 */
export function llamaConfigFromGguf(file: GgufFile): LlamaConfig {
  const config = rotaryConfigFromGguf(file, 'llama');
  return file.tensors.has('rope_freqs.weight')
    ? { ...config, ropeScaling: { type: 'factors' } }
    : config;
}

/**
 * What the GGUF files of Llama, Qwen2 and Qwen3 say alike.
 * @throws as `llamaConfigFromGguf`
 */
export function rotaryConfigFromGguf(file: GgufFile, modelType: string): LlamaConfig {
  const config = new GgufConfig(file, modelType);
  const hiddenSize = config.count('embedding_length');
  const numAttentionHeads = config.count('attention.head_count');
  const numKeyValueHeads = config.count('attention.head_count_kv', numAttentionHeads);
  const embedding = file.tensors.get('token_embd.weight');
  if (!embedding) throw config.fail('tensor token_embd.weight is missing');
  const stated = config.optionalCount('attention.key_length');
  const headDim = config.number('rope.dimension_count', stated ?? hiddenSize / numAttentionHeads);
  const fits = headDim === stated || headDim * numAttentionHeads === hiddenSize;
  if (!fits || headDim % 2 !== 0) {
    throw config.fail(
      `${numAttentionHeads} heads of ${headDim} do not make a width of ${hiddenSize}`,
    );
  }
  if (stated !== undefined && stated !== headDim) {
    throw config.unsupported(`rotary positions on ${headDim} of ${stated} channels`);
  }
  expectSharedHeads(numAttentionHeads, numKeyValueHeads, (what) => config.fail(what));
  return {
    modelType,
    hiddenSize,
    numAttentionHeads,
    headDim,
    numHiddenLayers: config.count('block_count'),
    intermediateSize: config.count('feed_forward_length'),
    numKeyValueHeads,
    rmsNormEps: config.number('attention.layer_norm_rms_epsilon'),
    ropeTheta: config.number('rope.freq_base', 10_000),
    maxPositionEmbeddings: config.count('context_length'),
    vocabSize: embedding.shape[0],
    tieWordEmbeddings: !file.tensors.has('output.weight'),
  };
}

/**
 * Llama's configuration out of a folder's config.json.
 * @throws FormatError (E_MODEL_ARCHITECTURE) for a key or a value that this forward pass does not
 * know, by name; (E_MODEL) for a number that is missing or makes no model
 */
export function llamaConfigFromJson(json: unknown, name: string): LlamaConfig {
  const config = new HfConfig(json, name);
  config.expect('mlp_bias', false, false);
  config.expect('attention_bias', false, false);
  config.expect('rope_interleaved', false, false);
  const read = rotaryConfigFromJson(config, 'llama');
  // pretraining_tp cuts matmuls into slices whose sum is the same.
  config.finish(['attention_dropout', 'pretraining_tp', 'is_llama_config']);
  return read;
}

/**
 * What config.json of Llama, Qwen2 and Qwen3 say alike; the caller reads the rest and finishes.
 * @throws as `llamaConfigFromJson`
 */
export function rotaryConfigFromJson(config: HfConfig, modelType: string): LlamaConfig {
  config.expect('model_type', modelType);
  config.expect('hidden_act', 'silu');
  config.expect('is_encoder_decoder', false, false);
  const hiddenSize = config.count('hidden_size');
  const numAttentionHeads = config.count('num_attention_heads');
  const numKeyValueHeads = config.optionalCount('num_key_value_heads') ?? numAttentionHeads;
  const headDim = config.optionalCount('head_dim') ?? hiddenSize / numAttentionHeads;
  if (!Number.isInteger(headDim) || headDim % 2 !== 0) {
    throw config.fail(`${numAttentionHeads} heads do not make a width of ${hiddenSize}`);
  }
  expectSharedHeads(numAttentionHeads, numKeyValueHeads, (what) => config.fail(what));
  return {
    modelType,
    hiddenSize,
    numAttentionHeads,
    headDim,
    numKeyValueHeads,
    numHiddenLayers: config.count('num_hidden_layers'),
    intermediateSize: config.count('intermediate_size'),
    rmsNormEps: config.number('rms_norm_eps', 1e-6),
    maxPositionEmbeddings: config.count('max_position_embeddings'),
    vocabSize: config.count('vocab_size'),
    tieWordEmbeddings: config.flag('tie_word_embeddings', false),
    ...ropeOptions(config),
  };
}

function expectSharedHeads(
  heads: number,
  kvHeads: number,
  fail: (what: string) => FormatError,
): void {
  if (heads % kvHeads !== 0) {
    throw fail(`${heads} heads do not share ${kvHeads} key-value heads`);
  }
}

/** A layer's weights, as Llama, Qwen2 and Qwen3 have them. */
export function llamaLayerPlan(config: LlamaConfig) {
  const { hiddenSize: d, intermediateSize: inner, headDim } = config;
  const qWidth = config.numAttentionHeads * headDim;
  const kvWidth = config.numKeyValueHeads * headDim;
  return {
    inputLayernorm: vector(d),
    qProj: matrix(qWidth, d),
    kProj: matrix(kvWidth, d),
    vProj: matrix(kvWidth, d),
    oProj: matrix(d, qWidth),
    postAttentionLayernorm: vector(d),
    gateProj: matrix(inner, d),
    upProj: matrix(inner, d),
    downProj: matrix(d, inner),
  };
}

/** All weights of a model of such layers. */
export function llamaPlan<Layer extends ReturnType<typeof llamaLayerPlan>>(
  config: LlamaConfig,
  layer: Layer,
) {
  const { hiddenSize: d, vocabSize, numHiddenLayers } = config;
  return {
    embedTokens: matrix(vocabSize, d),
    layers: layers(numHiddenLayers, layer),
    norm: vector(d),
    lmHead: config.tieWordEmbeddings ? undefined : matrix(vocabSize, d),
    ropeFactors: config.ropeScaling?.type === 'factors' ? vector(config.headDim / 2) : undefined,
  };
}

/** All weights that `loadLlama` asks of its source. */
export const llamaWeights = (config: LlamaConfig) => llamaPlan(config, llamaLayerPlan(config));

/**
 * Builds a Llama from its weights, matrix by matrix.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadLlama(
  config: LlamaConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Llama> {
  const params = await loadPlan(llamaWeights(config), source, precision, backend, onProgress);
  return new Llama(config, params, precision, backend);
}
