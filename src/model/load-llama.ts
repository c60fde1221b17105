import { type Backend, FormatError, keep, tensor } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { Llama, type LlamaConfig, type LlamaLayerParams, type LlamaParams } from './llama.ts';
import type { LinearWeight } from './nn/linear.ts';
import { packMatrix } from './pack-matrix.ts';
import type { GgufFile } from './weights/gguf.ts';
import type { WeightSource } from './weights/weight-source.ts';

/**
 * Llama's configuration out of GGUF metadata.
 * @throws FormatError (E_MODEL_ARCHITECTURE) for another architecture or a variant that this
 * forward pass would compute wrongly, (E_MODEL) for a number that is missing or makes no model
 */
export function llamaConfigFromGguf(file: GgufFile): LlamaConfig {
  const { metadata, tensors, name } = file;
  const fail = (what: string) => new FormatError(`${name}: ${what}`, 'E_MODEL');
  expectPlainLlama(file);
  const number = (key: string, fallback?: number): number => {
    const value = metadata.get(`llama.${key}`) ?? fallback;
    if (typeof value !== 'number' || !(value > 0 && value < Number.POSITIVE_INFINITY)) {
      throw fail(`metadata llama.${key} is missing or no positive number`);
    }
    return value;
  };
  const count = (key: string, fallback?: number): number => {
    const value = number(key, fallback);
    if (!Number.isSafeInteger(value)) throw fail(`metadata llama.${key} is no whole number`);
    return value;
  };
  const hiddenSize = count('embedding_length');
  const numAttentionHeads = count('attention.head_count');
  const numKeyValueHeads = count('attention.head_count_kv', numAttentionHeads);
  const embedding = tensors.get('token_embd.weight');
  if (!embedding) throw fail('tensor token_embd.weight is missing');
  const headDim = number('rope.dimension_count', hiddenSize / numAttentionHeads);
  if (headDim * numAttentionHeads !== hiddenSize || headDim % 2 !== 0) {
    throw fail(`${numAttentionHeads} heads of ${headDim} do not make a width of ${hiddenSize}`);
  }
  if (numAttentionHeads % numKeyValueHeads !== 0) {
    throw fail(`${numAttentionHeads} heads do not share ${numKeyValueHeads} key-value heads`);
  }
  return {
    modelType: 'llama',
    hiddenSize,
    numAttentionHeads,
    headDim,
    numHiddenLayers: count('block_count'),
    intermediateSize: count('feed_forward_length'),
    numKeyValueHeads,
    rmsNormEps: number('attention.layer_norm_rms_epsilon'),
    ropeTheta: number('rope.freq_base', 10_000),
    maxPositionEmbeddings: count('context_length'),
    vocabSize: embedding.shape[0],
    tieWordEmbeddings: !tensors.has('output.weight'),
  };
}

/** Refuses what would load and run, and give wrong numbers: scaled positions, biases. */
function expectPlainLlama({ metadata, tensors, name }: GgufFile): void {
  const fail = (what: string) =>
    new FormatError(
      `${name}: ${what} is not supported; this build runs plain llama`,
      'E_MODEL_ARCHITECTURE',
    );
  const architecture = metadata.get('general.architecture');
  if (architecture !== 'llama') {
    const found = typeof architecture === 'string' ? JSON.stringify(architecture) : 'none';
    throw fail(`architecture ${found}`);
  }
  const scaling = metadata.get('llama.rope.scaling.type');
  if (scaling !== undefined && scaling !== 'none') {
    throw fail(`rope scaling ${JSON.stringify(String(scaling))}`);
  }
  // The key of older files.
  const factor = metadata.get('llama.rope.scale_linear');
  if (factor !== undefined && factor !== 1) throw fail('linear rope scaling');
  for (const tensor of tensors.keys()) {
    if (tensor === 'rope_freqs.weight' || tensor.endsWith('.bias')) {
      throw fail(`tensor ${JSON.stringify(tensor)}`);
    }
  }
}

/**
 * Builds a Llama from its weights, matrix by matrix, so that only one is held twice. When one
 * cannot be had, those before it are given back.
 * @param onProgress called with matrices done and in all
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadLlama(
  config: LlamaConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: (done: number, total: number) => void,
): Promise<Llama> {
  const { hiddenSize: d, intermediateSize, headDim, numHiddenLayers, vocabSize } = config;
  const qWidth = config.numAttentionHeads * headDim;
  const kvWidth = config.numKeyValueHeads * headDim;
  const total = 7 * numHiddenLayers + (config.tieWordEmbeddings ? 1 : 2);
  const held: LinearWeight[] = [];
  const hold = <T extends LinearWeight>(weight: T): T => {
    held.push(weight);
    return weight;
  };
  let done = 0;
  const matrix = async (name: string, rows: number, columns: number) => {
    const packed = hold(packMatrix(await source.matrix(name, rows, columns), precision, backend));
    onProgress?.(++done, total);
    return packed;
  };
  const vector = async (name: string) =>
    hold(keep(tensor(await source.vector(name, d), [d], { backend })));

  try {
    const embedTokens = await matrix('embedTokens', vocabSize, d);
    const layers: LlamaLayerParams[] = [];
    for (let i = 0; i < numHiddenLayers; i++) {
      const at = `layers.${i}`;
      layers.push({
        inputLayernorm: await vector(`${at}.inputLayernorm`),
        qProj: await matrix(`${at}.qProj`, qWidth, d),
        kProj: await matrix(`${at}.kProj`, kvWidth, d),
        vProj: await matrix(`${at}.vProj`, kvWidth, d),
        oProj: await matrix(`${at}.oProj`, d, qWidth),
        postAttentionLayernorm: await vector(`${at}.postAttentionLayernorm`),
        gateProj: await matrix(`${at}.gateProj`, intermediateSize, d),
        upProj: await matrix(`${at}.upProj`, intermediateSize, d),
        downProj: await matrix(`${at}.downProj`, d, intermediateSize),
      });
    }
    const params: LlamaParams = {
      embedTokens,
      layers,
      norm: await vector('norm'),
      lmHead: config.tieWordEmbeddings ? embedTokens : await matrix('lmHead', vocabSize, d),
    };
    return new Llama(config, params, precision, backend);
  } catch (error) {
    for (const weight of held) weight.dispose();
    throw error;
  }
}
