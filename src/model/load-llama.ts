import { type Backend, FormatError } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { Llama, type LlamaConfig, type LlamaLayerParams, type LlamaParams } from './llama.ts';
import { packedMatrixBytes } from './pack-matrix.ts';
import { type LoadProgress, WeightLoader } from './weight-loader.ts';
import { dequantizableTypes, isDequantizable } from './weights/dequantize.ts';
import type { GgufFile } from './weights/gguf.ts';
import { findGgufTensor } from './weights/gguf-source.ts';
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

/** Shapes `[N, K]` of a layer's matrices, by name, in the order in which they are loaded. */
function layerShapes(config: LlamaConfig) {
  const { hiddenSize: d, intermediateSize, headDim } = config;
  const qWidth = config.numAttentionHeads * headDim;
  const kvWidth = config.numKeyValueHeads * headDim;
  return {
    qProj: [qWidth, d],
    kProj: [kvWidth, d],
    vProj: [kvWidth, d],
    oProj: [d, qWidth],
    gateProj: [intermediateSize, d],
    upProj: [intermediateSize, d],
    downProj: [d, intermediateSize],
  } as const;
}

/** Names and shapes of all that `loadLlama` asks of its source: `[N, K]` or, of a vector, `[D]`. */
function* llamaWeights(config: LlamaConfig): Generator<{ name: string; shape: readonly number[] }> {
  const { hiddenSize: d, vocabSize } = config;
  yield { name: 'embedTokens', shape: [vocabSize, d] };
  yield { name: 'norm', shape: [d] };
  if (!config.tieWordEmbeddings) yield { name: 'lmHead', shape: [vocabSize, d] };
  const shapes = Object.entries(layerShapes(config));
  for (let i = 0; i < config.numHiddenLayers; i++) {
    yield { name: `layers.${i}.inputLayernorm`, shape: [d] };
    yield { name: `layers.${i}.postAttentionLayernorm`, shape: [d] };
    for (const [name, shape] of shapes) yield { name: `layers.${i}.${name}`, shape };
  }
}

/**
 * Bytes that a file's weights take on the backend once loaded, without reading them.
 * @throws FormatError (E_MODEL) when a tensor is missing or has another shape, (E_GGUF_TYPE) when
 * its type cannot be decoded
 */
export function llamaWeightBytes(
  file: GgufFile,
  config: LlamaConfig,
  precision: WeightPrecision,
): number {
  let bytes = 0;
  for (const { name, shape } of llamaWeights(config)) {
    const { name: stored, type } = findGgufTensor(file, name, shape);
    if (!isDequantizable(type)) {
      throw new FormatError(
        `${file.name}: tensor ${stored} is ${type}, which is not supported; supported are ${dequantizableTypes.join(', ')}`,
        'E_GGUF_TYPE',
      );
    }
    const [rows, columns] = shape;
    bytes += columns === undefined ? 4 * rows : packedMatrixBytes(rows, columns, type, precision);
  }
  return bytes;
}

/**
 * Builds a Llama from its weights, matrix by matrix, so that only one is held twice. When one
 * cannot be had, those before it are given back.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadLlama(
  config: LlamaConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Llama> {
  const { hiddenSize: d, numHiddenLayers, vocabSize } = config;
  const shapes = layerShapes(config);
  const total = 7 * numHiddenLayers + (config.tieWordEmbeddings ? 1 : 2);
  const weights = new WeightLoader(source, precision, backend, total, onProgress);
  const matrix = (name: string, [rows, columns]: readonly [number, number]) =>
    weights.matrix(name, rows, columns);
  const vector = (name: string) => weights.vector(name, d);

  try {
    const embedTokens = await matrix('embedTokens', [vocabSize, d]);
    const layers: LlamaLayerParams[] = [];
    for (let i = 0; i < numHiddenLayers; i++) {
      const at = `layers.${i}`;
      layers.push({
        inputLayernorm: await vector(`${at}.inputLayernorm`),
        qProj: await matrix(`${at}.qProj`, shapes.qProj),
        kProj: await matrix(`${at}.kProj`, shapes.kProj),
        vProj: await matrix(`${at}.vProj`, shapes.vProj),
        oProj: await matrix(`${at}.oProj`, shapes.oProj),
        postAttentionLayernorm: await vector(`${at}.postAttentionLayernorm`),
        gateProj: await matrix(`${at}.gateProj`, shapes.gateProj),
        upProj: await matrix(`${at}.upProj`, shapes.upProj),
        downProj: await matrix(`${at}.downProj`, shapes.downProj),
      });
    }
    const params: LlamaParams = {
      embedTokens,
      layers,
      norm: await vector('norm'),
      lmHead: config.tieWordEmbeddings ? embedTokens : await matrix('lmHead', [vocabSize, d]),
    };
    return new Llama(config, params, precision, backend);
  } catch (error) {
    weights.dispose();
    throw error;
  }
}
