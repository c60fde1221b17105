import { type FileHandle, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type {
  Backbone,
  LoadProgress,
  PackedContent,
  StoredModel,
  WeightPrecision,
  WeightSource,
} from '../model/index.ts';
import {
  PackedFile,
  PackedWriter,
  packedFileName,
  packedWeights,
  packingWeights,
  streamedWeights,
} from '../model/packed-file.ts';
import {
  cacheDir,
  fileByteSource,
  fileError,
  moveFileAtomic,
  sha256Bytes,
  sha256Hasher,
  temporaryBeside,
} from '../platform/node.ts';
import { MobillmError, UsageError } from '../tensor/errors.ts';
import type { Backend } from '../tensor/index.ts';

/**
 * What is done with packed weights in the cache. `never`: nothing. `auto`: read where they are there,
 * written where packing takes long enough to be noticed. `always`: written whatever the size.
 */
export type PackMode = 'never' | 'auto' | 'always';

/** What came of it. */
export interface PackedState {
  readonly state: 'unused' | 'read' | 'written';
  readonly path?: string;
  /** Bytes of the file. */
  readonly bytes?: number;
  /** For people: why a file that is there was not used, or none could be written. */
  readonly notes: readonly string[];
}

/** Smaller models are quantized in a moment; `auto` does not fill the cache with them. */
const WORTH_PACKING_BYTES = 16 * 2 ** 20;

/** What a process left behind that died while it wrote is removed when nobody touched it so long. */
const ABANDONED_MS = 60 * 60 * 1000;

/** Where packed weights lie. */
export function packedPath(content: PackedContent, env: NodeJS.ProcessEnv = process.env): string {
  return join(cacheDir(env), 'packed', packedFileName(content));
}

/** Where the weights of a running model are: in memory, or read layer by layer. */
export type WeightPlace = 'resident' | 'stream';

/** How a model is loaded. */
export interface LoadPackedOptions {
  readonly precision: WeightPrecision;
  readonly backend: Backend;
  readonly mode: PackMode;
  /** `resident` unless told. */
  readonly weights?: WeightPlace;
  readonly onProgress?: LoadProgress;
}

/**
 * A model with its weights as the cache holds them, or out of its files.
 * @throws UsageError where weights are to be streamed, and there is no packed file nor may one be made
 */
export async function loadPacked(
  model: StoredModel,
  weights: WeightSource,
  options: LoadPackedOptions,
): Promise<{ backbone: Backbone; packed: PackedState }> {
  const { precision, backend, onProgress } = options;
  const stream = options.weights === 'stream';
  if (stream && options.mode === 'never') {
    throw new UsageError(
      '--weights stream: reads packed weights, which --no-pack forbids and random weights do not have',
    );
  }
  const mode = stream ? 'always' : options.mode;
  const load = (from: WeightSource) => model.load(from, precision, backend, onProgress);
  // f32 is neither quantized nor arranged: a packed file would hold the model's own, in more bytes.
  if (mode === 'never' || (precision === 'f32' && !stream)) {
    return { backbone: await load(weights), packed: { state: 'unused', notes: [] } };
  }
  const content = { fingerprint: weights.fingerprint, precision };
  const path = packedPath(content);
  const notes: string[] = [];
  const unpacked = async () => {
    return { backbone: await load(weights), packed: { state: 'unused', notes } as const };
  };
  const read = async (state: 'read' | 'written') => {
    const source = await fileByteSource(path);
    let kept = false;
    try {
      const file = await PackedFile.open(source, content, sha256Bytes);
      let from = packedWeights(weights, file);
      if (stream) {
        // Nobody looks at hashes in the middle of a pass, so the whole file is looked at now.
        await file.verify(sha256Hasher);
        from = streamedWeights(weights, file);
      }
      const backbone = await load(from);
      kept = stream;
      return { backbone, packed: { state, path, bytes: source.size, notes } };
    } finally {
      if (!kept) await source.close();
    }
  };
  try {
    return await read('read');
  } catch (error) {
    if (!isFileFault(error)) throw error;
    if (error.code !== 'E_NOT_FOUND') notes.push(`${error.message}; not used`);
  }
  if (mode === 'auto' && model.weightBytes(precision) < WORTH_PACKING_BYTES) return unpacked();
  // Written first and read afterwards: on the way no more than one matrix is in memory.
  try {
    const file = await PackedFileOnDisk.begin(path, content);
    try {
      await model.pack(packingWeights(weights, file), precision, backend, onProgress);
    } catch (error) {
      await file.drop();
      throw error;
    }
    await file.finish();
  } catch (error) {
    if (mode === 'always' || !(error instanceof UsageError)) throw error;
    notes.push(`${error.message}; the weights were not packed`);
    return unpacked();
  }
  return read('written');
}

/** Whether a failure is one of the packed file, so that the model's own files serve instead. */
function isFileFault(error: unknown): error is MobillmError {
  const codes = ['E_PACKED', 'E_TRUNCATED', 'E_NOT_FOUND', 'E_NO_ACCESS', 'E_FILE'];
  return error instanceof MobillmError && codes.includes(error.code);
}

/**
 * A packed file that is being written under a name of its own and gets its real one, by a rename,
 * once it is whole: several processes may do so at once, and the last one's stays.
 */
class PackedFileOnDisk {
  private readonly path: string;
  private readonly temporary: string;
  private readonly handle: FileHandle;
  private readonly writer: PackedWriter;

  private constructor(path: string, temporary: string, handle: FileHandle, content: PackedContent) {
    this.path = path;
    this.temporary = temporary;
    this.handle = handle;
    const sink = {
      async write(offset: number, bytes: Uint8Array) {
        for (let done = 0; done < bytes.length; ) {
          const rest = bytes.length - done;
          done += (await handle.write(bytes, done, rest, offset + done)).bytesWritten;
        }
      },
    };
    this.writer = new PackedWriter(sink, content, sha256Bytes);
  }

  /** @throws UsageError when no file can be made there */
  static async begin(path: string, content: PackedContent): Promise<PackedFileOnDisk> {
    const temporary = temporaryBeside(path);
    try {
      await mkdir(dirname(path), { recursive: true });
      await removeAbandoned(path);
      return new PackedFileOnDisk(path, temporary, await open(temporary, 'wx'), content);
    } catch (error) {
      throw fileError('pack', path, error);
    }
  }

  /** Appends a weight. @throws UsageError when it could not be written */
  async add(...weight: Parameters<PackedWriter['add']>): Promise<void> {
    await this.writer.add(...weight).catch((error) => {
      throw fileError('pack', this.path, error);
    });
  }

  /** Puts the whole file in its place. @throws UsageError when it could not be written */
  async finish(): Promise<void> {
    try {
      await this.writer.finish();
      await this.handle.close();
      await moveFileAtomic(this.temporary, this.path);
    } catch (error) {
      await this.drop();
      throw fileError('pack', this.path, error);
    }
  }

  /** Leaves nothing behind. */
  async drop(): Promise<void> {
    await this.handle.close().catch(() => {});
    await rm(this.temporary, { force: true });
  }
}

/** Removes what writers of this file left that died. */
async function removeAbandoned(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`.${basename(path)}.tmp-`)) continue;
    const stats = await stat(join(folder, name)).catch(() => undefined);
    if (stats && Date.now() - stats.mtimeMs > ABANDONED_MS) {
      await rm(join(folder, name), { force: true });
    }
  }
}
