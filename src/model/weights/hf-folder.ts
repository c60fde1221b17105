import type { ByteSource } from '../../platform/byte-source.ts';
import { parseJson } from './hf-config.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors.ts';

/** A file of JSON and what to call it. */
export interface JsonFile {
  readonly name: string;
  readonly json: unknown;
}

/** What is read of a model folder in Hugging Face's layout. */
export interface HfFolder {
  /** config.json. */
  readonly config: JsonFile;
  /** tokenizer.json. */
  readonly tokenizer: JsonFile;
  /** model.safetensors, its tensors still in the source. */
  readonly weights: SafetensorsFile;
}

/** The files of such a folder, by what they hold. */
export const HF_FILES = {
  config: 'config.json',
  tokenizer: 'tokenizer.json',
  weights: 'model.safetensors',
} as const;

/**
 * Opens a folder's files. `weights` has to stay open as long as tensors are read.
 * @throws FormatError E_MODEL, E_TOKENIZER or E_SAFETENSORS, naming the file that is damaged
 */
export async function openHfFolder(
  sources: Readonly<Record<keyof typeof HF_FILES, ByteSource>>,
): Promise<HfFolder> {
  return {
    config: await readJson(sources.config, 'E_MODEL'),
    tokenizer: await readJson(sources.tokenizer, 'E_TOKENIZER'),
    weights: await openSafetensors(sources.weights),
  };
}

/** Reads a whole file of JSON. @throws FormatError with the code given when it is none */
export async function readJson(source: ByteSource, code: string): Promise<JsonFile> {
  const { name } = source;
  return { name, json: parseJson(await source.read(0, source.size), name, code) };
}
