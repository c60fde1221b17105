import type { ByteSource } from '../../platform/byte-source.ts';
import { FormatError, UsageError } from '../../tensor/errors.ts';
import { parseJson } from './hf-config.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors.ts';
import { joinShards, shardNames } from './safetensors-shards.ts';

/** A file of JSON and what to call it. */
export interface JsonFile {
  readonly name: string;
  readonly json: unknown;
}

/** A folder whose files can be opened by name, wherever it lies. */
export interface FolderReader {
  /** What to call the folder in messages. */
  readonly name: string;
  /** The file, or undefined where there is none of that name. */
  open(file: string): Promise<ByteSource | undefined>;
}

/** What is read of a model folder in Hugging Face's layout. */
export interface HfFolder {
  readonly name: string;
  /** config.json. */
  readonly config: JsonFile;
  /** tokenizer.json, where there is one. */
  readonly tokenizer?: JsonFile;
  /** tokenizer_config.json, where there is one: special tokens, chat template. */
  readonly tokenizerConfig?: JsonFile;
  /** generation_config.json, where there is one: what ends a text. */
  readonly generationConfig?: JsonFile;
  /** chat_template.jinja, where there is one. */
  readonly chatTemplate?: string;
  /** model.safetensors, or the shards that its index names; tensors are still in the sources. */
  readonly weights: SafetensorsFile;
  /** The files that hold the weights. */
  readonly weightFiles: readonly string[];
}

/** The files of such a folder, by what they hold. */
export const HF_FILES = {
  config: 'config.json',
  tokenizer: 'tokenizer.json',
  tokenizerConfig: 'tokenizer_config.json',
  generationConfig: 'generation_config.json',
  chatTemplate: 'chat_template.jinja',
  weights: 'model.safetensors',
  index: 'model.safetensors.index.json',
} as const;

/**
 * Opens a folder's files. Those of the weights have to stay open as long as tensors are read.
 * @throws FormatError E_MODEL, E_TOKENIZER or E_SAFETENSORS, naming the file that is damaged or
 * missing; UsageError (E_NOT_FOUND) where there is no config.json
 */
export async function openHfFolder(folder: FolderReader): Promise<HfFolder> {
  const json = async (file: string, code: string) => {
    const source = await folder.open(file);
    return source && readJson(source, code);
  };
  const config = await readFolderConfig(folder);
  const template = await folder.open(HF_FILES.chatTemplate);
  return {
    name: folder.name,
    config,
    tokenizer: await json(HF_FILES.tokenizer, 'E_TOKENIZER'),
    tokenizerConfig: await json(HF_FILES.tokenizerConfig, 'E_TOKENIZER'),
    generationConfig: await json(HF_FILES.generationConfig, 'E_MODEL'),
    chatTemplate: template && new TextDecoder().decode(await template.read(0, template.size)),
    ...(await openWeights(folder)),
  };
}

/**
 * A folder's config.json.
 * @throws UsageError (E_NOT_FOUND) when it is missing, FormatError (E_MODEL) when it is no JSON
 */
export async function readFolderConfig(folder: FolderReader): Promise<JsonFile> {
  const source = await folder.open(HF_FILES.config);
  if (source) return readJson(source, 'E_MODEL');
  throw new UsageError(
    `${folder.name}: it has no ${HF_FILES.config}, so it is no model folder in Hugging Face's layout`,
    'E_NOT_FOUND',
  );
}

/** Reads a whole file of JSON. @throws FormatError with the code given when it is none */
export async function readJson(source: ByteSource, code: string): Promise<JsonFile> {
  const { name } = source;
  return { name, json: parseJson(await source.read(0, source.size), name, code) };
}

async function openWeights(
  folder: FolderReader,
): Promise<Pick<HfFolder, 'weights' | 'weightFiles'>> {
  const whole = await folder.open(HF_FILES.weights);
  if (whole) return { weights: await openSafetensors(whole), weightFiles: [HF_FILES.weights] };
  const indexSource = await folder.open(HF_FILES.index);
  if (!indexSource) {
    throw new FormatError(
      `${folder.name}: it has neither ${HF_FILES.weights} nor ${HF_FILES.index}; weights in other formats are not read`,
      'E_MODEL',
    );
  }
  const { name, json } = await readJson(indexSource, 'E_SAFETENSORS');
  const weightFiles = shardNames(json, name);
  const shards = new Map<string, SafetensorsFile>();
  for (const file of weightFiles) {
    const source = await folder.open(file);
    if (!source) throw new FormatError(`${folder.name}: its shard ${file} is missing`, 'E_MODEL');
    shards.set(file, await openSafetensors(source));
  }
  return { weights: joinShards(json, name, shards), weightFiles };
}
