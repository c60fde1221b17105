import type { Backend } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { Bert, type BertConfig } from './bert.ts';
import { type LoadProgress, layers, loadPlan, matrix, table, vector } from './weight-plan.ts';
import { HfConfig } from './weights/hf-config.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** Hugging Face's names of a BERT's modules, by ours; `N` stands for the layer. */
const MODULES: Readonly<Record<string, string>> = {
  embedTokens: 'embeddings.word_embeddings',
  embedPositions: 'embeddings.position_embeddings',
  embedTokenTypes: 'embeddings.token_type_embeddings',
  embeddingNorm: 'embeddings.LayerNorm',
  'layers.N.qProj': 'encoder.layer.N.attention.self.query',
  'layers.N.kProj': 'encoder.layer.N.attention.self.key',
  'layers.N.vProj': 'encoder.layer.N.attention.self.value',
  'layers.N.oProj': 'encoder.layer.N.attention.output.dense',
  'layers.N.attentionNorm': 'encoder.layer.N.attention.output.LayerNorm',
  'layers.N.upProj': 'encoder.layer.N.intermediate.dense',
  'layers.N.downProj': 'encoder.layer.N.output.dense',
  'layers.N.outputNorm': 'encoder.layer.N.output.LayerNorm',
};

/**
 * The names under which a checkpoint may hold one of our tensors, the usual one first: with and
 * without the prefix of models that have a head, norms also under TensorFlow's names.
 */
export function bertTensorNames(name: string): string[] {
  const layer = name.match(/\d+/)?.[0] ?? '';
  const isBias = name.endsWith('Bias');
  const module = MODULES[name.replace(/Bias$/, '').replace(/\d+/, 'N')]?.replace(
    '.N.',
    `.${layer}.`,
  );
  if (module === undefined) return [name];
  const kinds = [isBias ? 'bias' : 'weight'];
  if (module.endsWith('LayerNorm')) kinds.push(isBias ? 'beta' : 'gamma');
  return kinds.flatMap((kind) => [`${module}.${kind}`, `bert.${module}.${kind}`]);
}

/** Keys of config.json that say nothing about the forward pass of a frozen encoder. */
const IRRELEVANT = [
  ...['attention_probs_dropout_prob', 'hidden_dropout_prob', 'classifier_dropout'],
  // There is no head that could be tied.
  'tie_word_embeddings',
  // Of Google's multilingual checkpoints: a pooler that nobody built.
  ...['directionality', 'pooler_fc_size', 'pooler_num_attention_heads', 'pooler_num_fc_layers'],
  ...['pooler_size_per_head', 'pooler_type'],
];

/**
 * BERT's configuration out of a folder's config.json.
 * @throws FormatError (E_MODEL_ARCHITECTURE) for a key or a value that this forward pass does not
 * know, by name; (E_MODEL) for a number that is missing or makes no model
 */
export function bertConfigFromJson(json: unknown, name: string): BertConfig {
  const config = new HfConfig(json, name);
  config.expect('model_type', 'bert');
  // erf GELU, learned absolute positions, an encoder: what is built.
  config.expect('hidden_act', 'gelu');
  config.expect('position_embedding_type', 'absolute', 'absolute');
  config.expect('is_decoder', false, false);
  config.expect('add_cross_attention', false, false);
  const hiddenSize = config.count('hidden_size');
  const numAttentionHeads = config.count('num_attention_heads');
  if (hiddenSize % numAttentionHeads !== 0) {
    throw config.fail(`${numAttentionHeads} heads do not make a width of ${hiddenSize}`);
  }
  const read: BertConfig = {
    modelType: 'bert',
    hiddenSize,
    numAttentionHeads,
    numHiddenLayers: config.count('num_hidden_layers'),
    intermediateSize: config.count('intermediate_size'),
    vocabSize: config.count('vocab_size'),
    typeVocabSize: config.count('type_vocab_size'),
    maxPositionEmbeddings: config.count('max_position_embeddings'),
    layerNormEps: config.number('layer_norm_eps', 1e-12),
  };
  config.finish(IRRELEVANT);
  return read;
}

/** All weights that `loadBert` asks of its source. */
export function bertWeights(config: BertConfig) {
  const { hiddenSize: d, intermediateSize: inner } = config;
  return {
    embedTokens: matrix(config.vocabSize, d),
    embedPositions: table(config.maxPositionEmbeddings, d),
    embedTokenTypes: table(config.typeVocabSize, d),
    embeddingNorm: vector(d),
    embeddingNormBias: vector(d),
    layers: layers(config.numHiddenLayers, {
      qProj: matrix(d, d),
      qProjBias: vector(d),
      kProj: matrix(d, d),
      kProjBias: vector(d),
      vProj: matrix(d, d),
      vProjBias: vector(d),
      oProj: matrix(d, d),
      oProjBias: vector(d),
      attentionNorm: vector(d),
      attentionNormBias: vector(d),
      upProj: matrix(inner, d),
      upProjBias: vector(inner),
      downProj: matrix(d, inner),
      downProjBias: vector(d),
      outputNorm: vector(d),
      outputNormBias: vector(d),
    }),
  };
}

/**
 * Builds a BERT from its weights, matrix by matrix.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadBert(
  config: BertConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Bert> {
  const params = await loadPlan(bertWeights(config), source, precision, backend, onProgress);
  return new Bert(config, params, precision, backend);
}
