import type { Backend } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { Bert, type BertConfig, type BertLayerParams } from './bert.ts';
import { type LoadProgress, WeightLoader } from './weight-loader.ts';
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
  ...['initializer_range', 'gradient_checkpointing', 'use_cache', 'pad_token_id'],
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

/**
 * Builds a BERT from its weights, matrix by matrix. When one cannot be had, those before it are
 * given back.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadBert(
  config: BertConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Bert> {
  const { hiddenSize: d, intermediateSize: inner, numHiddenLayers, vocabSize } = config;
  const weights = new WeightLoader(source, precision, backend, 6 * numHiddenLayers + 1, onProgress);
  try {
    const embedTokens = await weights.matrix('embedTokens', vocabSize, d);
    const layers: BertLayerParams[] = [];
    for (let i = 0; i < numHiddenLayers; i++) {
      const at = `layers.${i}`;
      layers.push({
        qProj: await weights.matrix(`${at}.qProj`, d, d),
        qProjBias: await weights.vector(`${at}.qProjBias`, d),
        kProj: await weights.matrix(`${at}.kProj`, d, d),
        kProjBias: await weights.vector(`${at}.kProjBias`, d),
        vProj: await weights.matrix(`${at}.vProj`, d, d),
        vProjBias: await weights.vector(`${at}.vProjBias`, d),
        oProj: await weights.matrix(`${at}.oProj`, d, d),
        oProjBias: await weights.vector(`${at}.oProjBias`, d),
        attentionNorm: await weights.vector(`${at}.attentionNorm`, d),
        attentionNormBias: await weights.vector(`${at}.attentionNormBias`, d),
        upProj: await weights.matrix(`${at}.upProj`, inner, d),
        upProjBias: await weights.vector(`${at}.upProjBias`, inner),
        downProj: await weights.matrix(`${at}.downProj`, d, inner),
        downProjBias: await weights.vector(`${at}.downProjBias`, d),
        outputNorm: await weights.vector(`${at}.outputNorm`, d),
        outputNormBias: await weights.vector(`${at}.outputNormBias`, d),
      });
    }
    const params = {
      embedTokens,
      embedPositions: await weights.table('embedPositions', config.maxPositionEmbeddings, d),
      embedTokenTypes: await weights.table('embedTokenTypes', config.typeVocabSize, d),
      embeddingNorm: await weights.vector('embeddingNorm', d),
      embeddingNormBias: await weights.vector('embeddingNormBias', d),
      layers,
    };
    return new Bert(config, params, precision, backend);
  } catch (error) {
    weights.dispose();
    throw error;
  }
}
