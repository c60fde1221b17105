import { type Backend, FormatError, numelOf } from '../tensor/index.ts';
import type { Backbone, BackboneConfig, ModelFamily, WeightPrecision } from './backbone.ts';
import { bertConfigFromJson, bertTensorNames, bertWeights, loadBert } from './load-bert.ts';
import {
  gpt2ConfigFromGguf,
  gpt2ConfigFromJson,
  gpt2GgufName,
  gpt2TensorNames,
  gpt2Weights,
  isGpt2Transposed,
  loadGpt2,
} from './load-gpt2.ts';
import {
  llamaConfigFromGguf,
  llamaConfigFromJson,
  llamaGgufName,
  llamaTensorNames,
  llamaWeights,
  loadLlama,
} from './load-llama.ts';
import { loadOpt, optConfigFromJson, optTensorNames, optWeights } from './load-opt.ts';
import { loadQwen2, qwen2ConfigFromGguf, qwen2ConfigFromJson, qwen2Weights } from './load-qwen2.ts';
import { loadQwen3, qwen3ConfigFromGguf, qwen3ConfigFromJson, qwen3Weights } from './load-qwen3.ts';
import type { DecoderConfig } from './nn/decoder.ts';
import {
  emptyWeights,
  type LoadProgress,
  passPlan,
  plannedBytes,
  plannedWeights,
  type WeightPlan,
} from './weight-plan.ts';
import type { GgufFile } from './weights/gguf.ts';
import { type GgufLayout, ggufWeightSource } from './weights/gguf-source.ts';
import type { JsonFile } from './weights/hf-folder.ts';
import type { SafetensorsFile } from './weights/safetensors.ts';
import { type CheckpointLayout, safetensorsWeightSource } from './weights/safetensors-source.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** How one architecture is read and built. A form of file it has no reader for is not read. */
interface Architecture<C extends BackboneConfig> {
  readonly family: ModelFamily;
  readonly gguf?: {
    readonly config: (file: GgufFile) => C;
    readonly layout: (config: C) => GgufLayout;
  };
  readonly folder?: {
    readonly config: (json: unknown, name: string) => C;
    readonly layout: CheckpointLayout;
  };
  /** All weights that `load` asks for. */
  readonly weights: (config: C) => WeightPlan;
  readonly load: (
    config: C,
    weights: WeightSource,
    precision: WeightPrecision,
    backend: Backend,
    onProgress?: LoadProgress,
  ) => Promise<Backbone>;
}

/** Keeps an entry's types together; the table knows it as one of many. */
// biome-ignore lint/suspicious/noExplicitAny: each entry is whole in itself, its config goes nowhere else
const entry = <C extends BackboneConfig>(one: Architecture<C>): Architecture<any> => one;

/** By model_type: Hugging Face's in a folder, `general.architecture` in GGUF, which agree. */
const ARCHITECTURES = new Map<unknown, ReturnType<typeof entry>>([
  [
    'llama',
    entry({
      family: 'decoder',
      gguf: {
        config: llamaConfigFromGguf,
        layout: ({ headDim }) => ({ name: llamaGgufName, interleavedHeads: headDim }),
      },
      folder: { config: llamaConfigFromJson, layout: { names: llamaTensorNames } },
      weights: llamaWeights,
      load: loadLlama,
    }),
  ],
  [
    'qwen2',
    entry({
      family: 'decoder',
      gguf: { config: qwen2ConfigFromGguf, layout: () => ({ name: llamaGgufName }) },
      folder: { config: qwen2ConfigFromJson, layout: { names: llamaTensorNames } },
      weights: qwen2Weights,
      load: loadQwen2,
    }),
  ],
  [
    'qwen3',
    entry({
      family: 'decoder',
      gguf: { config: qwen3ConfigFromGguf, layout: () => ({ name: llamaGgufName }) },
      folder: { config: qwen3ConfigFromJson, layout: { names: llamaTensorNames } },
      weights: qwen3Weights,
      load: loadQwen3,
    }),
  ],
  [
    'gpt2',
    entry({
      family: 'decoder',
      gguf: { config: gpt2ConfigFromGguf, layout: () => ({ name: gpt2GgufName }) },
      folder: {
        config: gpt2ConfigFromJson,
        layout: { names: gpt2TensorNames, isTransposed: isGpt2Transposed },
      },
      weights: gpt2Weights,
      load: loadGpt2,
    }),
  ],
  [
    'opt',
    entry({
      family: 'decoder',
      folder: { config: optConfigFromJson, layout: { names: optTensorNames } },
      weights: optWeights,
      load: loadOpt,
    }),
  ],
  [
    'bert',
    entry({
      family: 'encoder',
      folder: { config: bertConfigFromJson, layout: { names: bertTensorNames } },
      weights: bertWeights,
      load: loadBert,
    }),
  ],
]);

/** The architectures that are built in, and the forms of file each is read from. */
export function architectures(): {
  readonly modelType: string;
  readonly family: ModelFamily;
  readonly gguf: boolean;
  readonly folder: boolean;
}[] {
  return [...ARCHITECTURES].map(([modelType, { family, gguf, folder }]) => ({
    modelType: modelType as string,
    family,
    gguf: gguf !== undefined,
    folder: folder !== undefined,
  }));
}

/** A model whose configuration was understood; its weights are still in their files. */
export interface StoredModel {
  readonly family: ModelFamily;
  readonly config: BackboneConfig;
  /** Numbers in all of its weights; what two places share counts once. */
  readonly parameters: number;
  /** The weights of its files. */
  weights(fingerprint: string): WeightSource;
  /**
   * Bytes that the weights take once loaded, without reading them.
   * @throws FormatError as `load`
   */
  weightBytes(precision: WeightPrecision): number;
  /**
   * The backbone without its weights, on a backend that counts (`countingBackend`).
   * @throws FormatError as `load`
   */
  loadEmpty(precision: WeightPrecision, stream: boolean, backend: Backend): Promise<Backbone>;
  /** Bytes of keys and values that a cached token takes; 0 of an encoder, which keeps none. */
  readonly cacheBytesPerToken: number;
  /**
   * Builds the backbone.
   * @throws FormatError when the weights lack a tensor, or have it in another shape or format
   */
  load(
    weights: WeightSource,
    precision: WeightPrecision,
    backend: Backend,
    onProgress?: LoadProgress,
  ): Promise<Backbone>;
  /**
   * Makes every weight in turn as `load` would, for `weights.loaded`; none is held longer.
   * @throws FormatError as `load`
   */
  pack(
    weights: WeightSource,
    precision: WeightPrecision,
    backend: Backend,
    onProgress?: LoadProgress,
  ): Promise<void>;
}

/**
 * The model in a GGUF file.
 * @throws FormatError E_MODEL_ARCHITECTURE for one that is not built in, or has tensors that its
 * architecture does not, by name; E_MODEL for numbers that make no model
 */
export function modelOfGguf(file: GgufFile): StoredModel {
  const name = file.metadata.get('general.architecture');
  const words = { where: file.name, key: 'architecture', form: 'GGUF' };
  const { gguf, ...architecture } = architectureOf('gguf', name, words);
  const config = gguf.config(file);
  const layout = gguf.layout(config);
  const known = new Set(
    Array.from(plannedWeights(architecture.weights(config)), ([ours]) => layout.name(ours)),
  );
  const unknown = [...file.tensors.keys()].find((tensor) => !known.has(tensor));
  if (unknown !== undefined) {
    throw new FormatError(
      `${file.name}: tensor ${JSON.stringify(unknown)} is not supported; this build runs plain ${name}`,
      'E_MODEL_ARCHITECTURE',
    );
  }
  const weights = (fingerprint: string) => ggufWeightSource(file, fingerprint, layout);
  return storedModel(architecture, config, weights);
}

/**
 * The model in a Hugging Face folder.
 * @throws FormatError E_MODEL_ARCHITECTURE for a model_type that is not built in, or an option that
 * it does not know, by name; E_MODEL for numbers that make no model
 */
export function modelOfFolder({ json, name }: JsonFile, tensors: SafetensorsFile): StoredModel {
  const { folder, ...architecture } = folderArchitecture(json, name);
  const weights = (fingerprint: string) =>
    safetensorsWeightSource(tensors, fingerprint, folder.layout);
  return storedModel(architecture, folder.config(json, name), weights);
}

/**
 * What a folder's config.json says before anything else is read of it.
 * @throws FormatError as `modelOfFolder`
 */
export function configOfFolder({ json, name }: JsonFile): {
  readonly family: ModelFamily;
  readonly config: BackboneConfig;
} {
  const { family, folder } = folderArchitecture(json, name);
  return { family, config: folder.config(json, name) };
}

function storedModel(
  { family, weights: plan, load }: Pick<Architecture<never>, 'family' | 'weights' | 'load'>,
  config: BackboneConfig,
  weights: (fingerprint: string) => WeightSource,
): StoredModel {
  return {
    family,
    config,
    parameters: parametersOf(plan(config as never)),
    weights,
    cacheBytesPerToken: family === 'decoder' ? cacheBytes(config as DecoderConfig) : 0,
    weightBytes: (precision) => plannedBytes(plan(config as never), weights(''), precision),
    load: (...args) => load(config as never, ...args),
    loadEmpty: (precision, stream, backend) => {
      const empty = emptyWeights(plan(config as never), weights(''), precision, stream);
      return load(config as never, empty, precision, backend);
    },
    pack: (...args) => passPlan(plan(config as never), ...args),
  };
}

function parametersOf(plan: WeightPlan): number {
  let numbers = 0;
  for (const [, { shape }] of plannedWeights(plan)) numbers += numelOf(shape);
  return numbers;
}

/** A key and a value in f32 for each layer and key-value head. */
function cacheBytes({ numHiddenLayers, numKeyValueHeads, headDim }: DecoderConfig): number {
  return 2 * 4 * numHiddenLayers * numKeyValueHeads * headDim;
}

function folderArchitecture(json: unknown, where: string) {
  const modelType = (json as { model_type?: unknown } | null)?.model_type;
  return architectureOf('folder', modelType, { where, key: 'model_type', form: 'folders' });
}

/** The architecture of that name, if it is built for that form of file. */
function architectureOf<F extends 'gguf' | 'folder'>(
  form: F,
  modelType: unknown,
  words: { where: string; key: string; form: string },
): Architecture<never> & Required<Pick<Architecture<BackboneConfig>, F>> {
  const found = ARCHITECTURES.get(modelType);
  if (found?.[form]) return found as never;
  const name = typeof modelType === 'string' ? JSON.stringify(modelType) : 'none';
  const built = [...ARCHITECTURES].filter(([, one]) => one[form]).map(([each]) => each);
  throw new FormatError(
    `${words.where}: ${words.key} ${name} is not supported; from ${words.form} this build runs ${built.join(', ')}`,
    'E_MODEL_ARCHITECTURE',
  );
}
