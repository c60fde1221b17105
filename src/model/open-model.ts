import type { ByteSource } from '../platform/byte-source.ts';
import { FormatError } from '../tensor/errors.ts';
import { type ChatTemplate, chatTemplate } from './chat-template.ts';
import { modelOfFolder, modelOfGguf, type StoredModel } from './registry.ts';
import { type Tokenizer, tokenizerFromGguf } from './tokenizer.ts';
import { tokenizerFromJson } from './tokenizer-json.ts';
import type { GgufFile } from './weights/gguf.ts';
import { openGguf } from './weights/gguf.ts';
import { HF_FILES, type HfFolder, type JsonFile } from './weights/hf-folder.ts';

/** How a model is talked to, as its files say. */
export interface ModelDialogue {
  /** Ids that end a text. */
  readonly stopTokenIds: readonly number[];
  /** Undefined where the files have no chat template. */
  readonly chatTemplate?: ChatTemplate;
}

/** A model with all that runs it. */
export interface OpenedModel extends StoredModel {
  readonly tokenizer: Tokenizer;
  readonly dialogue: ModelDialogue;
}

/**
 * Understands a GGUF file.
 * @throws FormatError E_MODEL_ARCHITECTURE for one that is not built in, by name; others for a file
 * that is damaged
 */
export async function openGgufModel(source: ByteSource): Promise<OpenedModel> {
  const file = await openGguf(source);
  const model = modelOfGguf(file);
  const tokenizer = tokenizerFromGguf(file.metadata);
  return { ...model, tokenizer, dialogue: ggufDialogue(file, tokenizer) };
}

/**
 * Understands a Hugging Face folder.
 * @throws FormatError E_MODEL_ARCHITECTURE for a model_type or an option that is not built in, by
 * name; E_TOKENIZER where there is no tokenizer that can be read; others for damaged files
 */
export async function openFolderModel(folder: HfFolder): Promise<OpenedModel> {
  const model = modelOfFolder(folder.config, folder.weights);
  const tokenizer = folderTokenizer(folder);
  return { ...model, tokenizer, dialogue: folderDialogue(folder, tokenizer) };
}

/**
 * The tokenizer of a folder.
 * @throws FormatError (E_TOKENIZER) when there is none, or none that can be read
 */
export function folderTokenizer({ name, tokenizer, tokenizerConfig }: HfFolder): Tokenizer {
  if (!tokenizer) {
    throw new FormatError(
      `${name}: it has no ${HF_FILES.tokenizer}; in Python, AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one`,
      'E_TOKENIZER',
    );
  }
  const { bos_token: bosToken, eos_token: eosToken } = specialTokens(tokenizerConfig);
  return tokenizerFromJson(tokenizer.json, tokenizer.name, { bosToken, eosToken });
}

function ggufDialogue({ metadata, name }: GgufFile, tokenizer: Tokenizer): ModelDialogue {
  const ids = ['tokenizer.ggml.eos_token_id', 'tokenizer.ggml.eot_token_id'].map((key) =>
    metadata.get(key),
  );
  const source = metadata.get('tokenizer.chat_template');
  const spelled = (id: number | undefined) => (id === undefined ? '' : (tokenizer.token(id) ?? ''));
  const tokens = {
    bos_token: spelled(tokenizer.bosTokenId),
    eos_token: spelled(tokenizer.eosTokenId),
  };
  return {
    stopTokenIds: ids.filter((id) => typeof id === 'number'),
    ...(typeof source === 'string' && { chatTemplate: chatTemplate(source, name, tokens) }),
  };
}

/**
 * How the model of a folder is talked to.
 * @throws FormatError (E_CHAT_TEMPLATE) when its chat template cannot be read
 */
export function folderDialogue(folder: HfFolder, tokenizer: Tokenizer): ModelDialogue {
  const { config, generationConfig, tokenizerConfig } = folder;
  const stated = [generationConfig, config]
    .map((file) => (file?.json as { eos_token_id?: unknown } | null)?.eos_token_id)
    .find((ids) => ids !== undefined && ids !== null);
  const ids = [tokenizer.eosTokenId, ...(Array.isArray(stated) ? stated : [stated])];
  const source = folder.chatTemplate ?? templateSetting(tokenizerConfig?.json);
  const tokens = specialTokens(tokenizerConfig);
  return {
    stopTokenIds: [...new Set(ids.filter((id) => Number.isSafeInteger(id)))] as number[],
    ...(source !== undefined && { chatTemplate: chatTemplate(source, folder.name, tokens) }),
  };
}

/** The chat template in tokenizer_config.json: a text, or one of several named ones. */
function templateSetting(json: unknown): string | undefined {
  const setting = (json as { chat_template?: unknown } | null)?.chat_template;
  if (typeof setting === 'string') return setting;
  if (!Array.isArray(setting)) return undefined;
  const named = setting.find((one) => one?.name === 'default');
  return typeof named?.template === 'string' ? named.template : undefined;
}

/** The special tokens in tokenizer_config.json by their names there, `bos_token` and the like. */
function specialTokens(file: JsonFile | undefined): Record<string, string> {
  const tokens: Record<string, string> = {};
  const json = file?.json;
  if (typeof json !== 'object' || json === null) return tokens;
  for (const [key, value] of Object.entries(json)) {
    const text = typeof value === 'string' ? value : value?.content;
    if (key.endsWith('_token') && typeof text === 'string') tokens[key] = text;
  }
  return tokens;
}
