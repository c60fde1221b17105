import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  familyOfFolder,
  HF_FILES,
  type ModelFamily,
  type OpenedModel,
  openFolderModel,
  openGgufModel,
  openHfFolder,
  readJson,
} from '../model/index.ts';
import type { ByteSource } from '../platform/byte-source.ts';
import { fileByteSource, fileError } from '../platform/node.ts';

/** A model whose files are open. */
export interface ModelFiles {
  readonly model: OpenedModel;
  /** The file whose SHA-256 tells its weights from all others. */
  readonly weightsPath: string;
  /** Closes the files; the model's weights cannot be read afterwards. */
  close(): Promise<void>;
}

async function isFolder(path: string): Promise<boolean> {
  const stats = await stat(path).catch((error) => {
    throw fileError('open', path, error);
  });
  return stats.isDirectory();
}

/**
 * Opens a `.gguf` file, or a folder in Hugging Face's layout.
 * @throws UsageError for files that are missing; FormatError for what is no model this build runs
 */
export async function openModelPath(path: string): Promise<ModelFiles> {
  const opened: ByteSource[] = [];
  const open = async (file: string) => {
    const source = await fileByteSource(file);
    opened.push(source);
    return source;
  };
  const close = async () => {
    for (const source of opened) await source.close();
  };
  try {
    if (!(await isFolder(path))) {
      return { model: await openGgufModel(await open(path)), weightsPath: path, close };
    }
    // First of all, so that a folder of another architecture is refused for that.
    await familyOfPath(path);
    const weightsPath = join(path, HF_FILES.weights);
    const folder = await openHfFolder({
      config: await open(join(path, HF_FILES.config)),
      tokenizer: await open(join(path, HF_FILES.tokenizer)),
      weights: await open(weightsPath),
    });
    return { model: await openFolderModel(folder), weightsPath, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * What kind of model a path holds, without opening its weights: flags' defaults depend on it.
 * @throws as `openModelPath` does over config.json
 */
export async function familyOfPath(path: string): Promise<ModelFamily> {
  // All architectures that are read from GGUF are decoders.
  if (!(await isFolder(path))) return 'decoder';
  const source = await fileByteSource(join(path, HF_FILES.config));
  try {
    const { name, json } = await readJson(source, 'E_MODEL');
    return familyOfFolder(json, name);
  } finally {
    await source.close();
  }
}
