import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FolderReader, ModelFamily, OpenedModel } from '../model/index.ts';
import { openFolderModel, openGgufModel } from '../model/open-model.ts';
import { configOfFolder, modelOfGguf } from '../model/registry.ts';
import { openGguf } from '../model/weights/gguf.ts';
import { openHfFolder, readFolderConfig } from '../model/weights/hf-folder.ts';
import type { ByteSource } from '../platform/byte-source.ts';
import { fileByteSource, fileError } from '../platform/node.ts';
import { MobillmError } from '../tensor/errors.ts';

/** A model whose files are open. */
export interface ModelFiles {
  readonly model: OpenedModel;
  /** The files whose SHA-256 tells its weights from all others. */
  readonly weightsPaths: readonly string[];
  /** Closes the files; the model's weights cannot be read afterwards. */
  close(): Promise<void>;
}

/** Whether a path is a folder. @throws UsageError when there is nothing, or no access */
export async function isFolder(path: string): Promise<boolean> {
  const stats = await stat(path).catch((error) => {
    throw fileError('open', path, error);
  });
  return stats.isDirectory();
}

/** A folder on disk, and what closes the files that were opened in it. */
export function diskFolder(path: string): FolderReader & { close(): Promise<void> } {
  const opened: ByteSource[] = [];
  return {
    name: path,
    async open(file) {
      try {
        const source = await fileByteSource(join(path, file));
        opened.push(source);
        return source;
      } catch (error) {
        if (error instanceof MobillmError && error.code === 'E_NOT_FOUND') return undefined;
        throw error;
      }
    },
    async close() {
      for (const source of opened) await source.close();
    },
  };
}

/**
 * Opens a `.gguf` file, or a folder in Hugging Face's layout.
 * @throws UsageError for files that are missing; FormatError for what is no model this build runs
 */
export async function openModelPath(path: string): Promise<ModelFiles> {
  if (!(await isFolder(path))) {
    const source = await fileByteSource(path);
    try {
      const close = () => source.close();
      return { model: await openGgufModel(source), weightsPaths: [path], close };
    } catch (error) {
      await source.close();
      throw error;
    }
  }
  const reader = diskFolder(path);
  try {
    // First of all, so that a folder of another architecture is refused for that.
    configOfFolder(await readFolderConfig(reader));
    const folder = await openHfFolder(reader);
    return {
      model: await openFolderModel(folder),
      weightsPaths: folder.weightFiles.map((file) => join(path, file)),
      close: reader.close,
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/** What of a model decides how flags are read. */
export interface ModelFacts {
  readonly family: ModelFamily;
  /** Most tokens of a sequence. */
  readonly contextLength: number;
  readonly layers: number;
}

/**
 * What kind of model a path holds, without reading its weights.
 * @throws as `openModelPath`, over configurations alone
 */
export async function factsOfPath(path: string): Promise<ModelFacts> {
  const facts = ({ family, config }: Pick<OpenedModel, 'family' | 'config'>): ModelFacts => ({
    family,
    contextLength: config.maxPositionEmbeddings,
    layers: config.numHiddenLayers,
  });
  if (await isFolder(path)) {
    const reader = diskFolder(path);
    try {
      return facts(configOfFolder(await readFolderConfig(reader)));
    } finally {
      await reader.close();
    }
  }
  const source = await fileByteSource(path);
  try {
    return facts(modelOfGguf(await openGguf(source)));
  } finally {
    await source.close();
  }
}

/**
 * What kind of model a path holds: flags' defaults depend on it.
 * @throws as `factsOfPath`
 */
export async function familyOfPath(path: string): Promise<ModelFamily> {
  return (await factsOfPath(path)).family;
}
