import type { ByteSource } from '../platform/byte-source.ts';
import { type Backend, FormatError } from '../tensor/index.ts';
import type { Backbone, BackboneConfig, ModelFamily, WeightPrecision } from './backbone.ts';
import type { BertConfig } from './bert.ts';
import type { LlamaConfig } from './llama.ts';
import { bertConfigFromJson, bertTensorNames, loadBert } from './load-bert.ts';
import { llamaConfigFromGguf, loadLlama } from './load-llama.ts';
import { type Tokenizer, tokenizerFromGguf } from './tokenizer.ts';
import { tokenizerFromJson } from './tokenizer-json.ts';
import type { LoadProgress } from './weight-loader.ts';
import { type GgufFile, openGguf } from './weights/gguf.ts';
import { ggufWeightSource } from './weights/gguf-source.ts';
import type { HfFolder } from './weights/hf-folder.ts';
import { safetensorsWeightSource } from './weights/safetensors-source.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** How one architecture is read and built. A form of file it has no reader for is not read. */
interface Architecture<C extends BackboneConfig> {
  readonly family: ModelFamily;
  readonly gguf?: {
    readonly config: (file: GgufFile) => C;
    readonly weights: (file: GgufFile, config: C, fingerprint: string) => WeightSource;
  };
  readonly folder?: {
    readonly config: (json: unknown, name: string) => C;
    /** Where one of our tensors may lie in the checkpoint, the usual name first. */
    readonly names: (name: string) => readonly string[];
  };
  readonly load: (
    config: C,
    weights: WeightSource,
    precision: WeightPrecision,
    backend: Backend,
    onProgress?: LoadProgress,
  ) => Promise<Backbone>;
}

const llama: Architecture<LlamaConfig> = {
  family: 'decoder',
  gguf: {
    config: llamaConfigFromGguf,
    weights: (file, config, fingerprint) => ggufWeightSource(file, fingerprint, config.headDim),
  },
  load: loadLlama,
};

const bert: Architecture<BertConfig> = {
  family: 'encoder',
  folder: { config: bertConfigFromJson, names: bertTensorNames },
  load: loadBert,
};

/** By model_type: Hugging Face's in a folder, `general.architecture` in GGUF, which agree. */
// biome-ignore lint/suspicious/noExplicitAny: each entry is whole in itself, its config goes nowhere else
const ARCHITECTURES: ReadonlyMap<unknown, Architecture<any>> = new Map<unknown, Architecture<any>>([
  ['llama', llama],
  ['bert', bert],
]);

/** A model whose files were understood; its weights are still in them. */
export interface OpenedModel {
  readonly family: ModelFamily;
  readonly config: BackboneConfig;
  readonly tokenizer: Tokenizer;
  /** The weights of its files. */
  weights(fingerprint: string): WeightSource;
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
}

/**
 * Understands a GGUF file.
 * @throws FormatError E_MODEL_ARCHITECTURE for one that is not built in, by name; others for a file
 * that is damaged
 */
export async function openGgufModel(source: ByteSource): Promise<OpenedModel> {
  const file = await openGguf(source);
  const { family, gguf, load } = architectureOf('gguf', file.metadata.get('general.architecture'), {
    where: file.name,
    key: 'architecture',
    form: 'GGUF',
  });
  const config = gguf.config(file);
  return {
    family,
    config,
    tokenizer: tokenizerFromGguf(file.metadata),
    weights: (fingerprint) => gguf.weights(file, config, fingerprint),
    load: (...args) => load(config, ...args),
  };
}

/**
 * Understands a Hugging Face folder.
 * @throws FormatError E_MODEL_ARCHITECTURE for a model_type that is not built in, by name; others
 * for files that are damaged
 */
export async function openFolderModel(files: HfFolder): Promise<OpenedModel> {
  const where = files.config.name;
  const { family, folder, load } = folderArchitecture(files.config.json, where);
  const config = folder.config(files.config.json, where);
  return {
    family,
    config,
    tokenizer: tokenizerFromJson(files.tokenizer.json, files.tokenizer.name),
    weights: (fingerprint) => safetensorsWeightSource(files.weights, fingerprint, folder.names),
    load: (...args) => load(config, ...args),
  };
}

/**
 * What a folder with this config.json holds.
 * @throws FormatError E_MODEL_ARCHITECTURE as `openFolderModel`
 */
export function familyOfFolder(config: unknown, name: string): ModelFamily {
  return folderArchitecture(config, name).family;
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
