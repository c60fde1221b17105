import type { WeightPrecision } from '../model/index.ts';
import { spawnWorker } from '../platform/node.ts';
import { connectRpc } from '../platform/rpc.ts';
import type { FoundHead, HeadSource } from '../server/index.ts';
import { UsageError } from '../tensor/errors.ts';
import { type HelloMessage, sha256Hex } from '../transport/index.ts';
import { openModelPath } from './model-files.ts';

/** In each of these a device may hold its model, and its head differs with that. */
const PRECISIONS: readonly WeightPrecision[] = ['int8', 'int4', 'f32'];

/** A model that a server has itself. */
interface OwnModel extends Pick<HelloMessage['model'], 'architecture' | 'hiddenSize' | 'layers'> {
  readonly path: string;
}

/**
 * Output heads of models that a server has itself, as devices with the same files would send them:
 * made when a job names one, in the precision in which its device holds the model, by a thread that
 * ends with it. The last one stays in memory.
 */
export class OwnHeads implements HeadSource {
  private readonly models: readonly OwnModel[];
  private readonly onFault: (path: string, error: Error) => void;
  /** Hashes by model and precision, as far as they were ever made. */
  private readonly hashes = new Map<string, string>();
  private last: { readonly sha256: string; readonly head: FoundHead } | undefined;
  /** One is made at a time. */
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(models: readonly OwnModel[], onFault: (path: string, error: Error) => void) {
    this.models = models;
    this.onFault = onFault;
  }

  /**
   * Looks at the models, without their weights.
   * @param paths `.gguf` files, or folders in Hugging Face's layout
   * @param onFault told where a head cannot be made later, so that the device has to send its own
   * @throws UsageError for a path with no model, or an encoder, which has no head; FormatError for a
   *   model that this build does not run
   */
  static async open(
    paths: readonly string[],
    onFault: (path: string, error: Error) => void,
  ): Promise<OwnHeads> {
    const models: OwnModel[] = [];
    for (const path of paths) {
      const { model, close } = await openModelPath(path);
      await close();
      if (model.family === 'encoder') {
        throw new UsageError(
          `--heads: ${path} is an encoder and makes no next token; give a decoder`,
        );
      }
      const { modelType, hiddenSize, numHiddenLayers } = model.config;
      models.push({ path, architecture: modelType, hiddenSize, layers: numHiddenLayers });
    }
    return new OwnHeads(models, onFault);
  }

  find(sha256: string, model: HelloMessage['model']): Promise<FoundHead | undefined> {
    const found = this.turn.then(() => this.make(sha256, model));
    this.turn = found.catch(() => {});
    return found;
  }

  private async make(
    sha256: string,
    { architecture, hiddenSize, layers, precision }: HelloMessage['model'],
  ): Promise<FoundHead | undefined> {
    if (this.last?.sha256 === sha256) return this.last.head;
    const candidates = this.models
      .filter((own) => own.architecture === architecture)
      .filter((own) => own.hiddenSize === hiddenSize && own.layers === layers)
      .flatMap(({ path }) => PRECISIONS.map((of) => ({ path, of, name: `${path}, ${of}` })))
      // A device that does not say may hold it in any.
      .filter(({ of }) => precision === undefined || of === precision)
      .filter(({ name }) => (this.hashes.get(name) ?? sha256) === sha256);
    for (const { path, of, name } of candidates) {
      const bytes = await makeHead(path, of).catch((error: Error) => this.onFault(path, error));
      if (!bytes) continue;
      const made = await sha256Hex(bytes);
      this.hashes.set(name, made);
      if (made !== sha256) continue;
      this.last = { sha256, head: { bytes, from: name } };
      return this.last.head;
    }
    return undefined;
  }
}

/** Makes a head in a thread of its own: the server's others go on, and its memory goes with it. */
async function makeHead(path: string, precision: WeightPrecision): Promise<Uint8Array> {
  const rpc = connectRpc(spawnWorker(new URL('./own-heads-worker.ts', import.meta.url)));
  try {
    return await rpc.call<Uint8Array>('make', { path, precision });
  } finally {
    await rpc.terminate();
  }
}
