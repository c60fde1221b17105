import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../platform/node.ts';
import { type HelloMessage, sha256Hex } from '../transport/index.ts';

/** Heads that are kept in memory where there is no folder; a head is some ten megabytes. */
const KEPT_IN_MEMORY = 2;

/** Heads that are kept on disk. */
const KEPT_ON_DISK = 8;

const NAME = /^[0-9a-f]{64}\.head$/;

/** An output head and where it came from, for people. */
export interface FoundHead {
  readonly bytes: Uint8Array;
  readonly from: string;
}

/** Where else output heads are found: models that the server has itself. */
export interface HeadSource {
  /** The head of that hash, of such a model; undefined where there is none. */
  find(sha256: string, model: HelloMessage['model']): Promise<FoundHead | undefined>;
}

/**
 * Output heads of frozen models by their SHA-256, so that a second job with the same model need not
 * send its head again: in a folder, or in memory. What comes of models that the server has itself is never sent.
 */
export class HeadStore {
  private readonly folder: string | undefined;
  /** Of the server's own models. */
  private readonly own: HeadSource | undefined;
  /** The one used last at the end. */
  private readonly held = new Map<string, Uint8Array>();

  constructor(folder?: string, own?: HeadSource) {
    this.folder = folder;
    this.own = own;
  }

  /** The head of that hash, of such a model; undefined where it is not held, or is damaged. */
  async get(sha256: string, model: HelloMessage['model']): Promise<FoundHead | undefined> {
    const own = await this.own?.find(sha256, model);
    if (own) return own;
    const bytes = await this.kept(sha256);
    return bytes && { bytes, from: 'an earlier job' };
  }

  private async kept(sha256: string): Promise<Uint8Array | undefined> {
    if (this.folder === undefined) {
      const held = this.held.get(sha256);
      if (held) this.use(sha256, held);
      return held;
    }
    const bytes = await readFile(join(this.folder, `${sha256}.head`)).catch(() => undefined);
    if (!bytes) return undefined;
    const whole = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    return (await sha256Hex(whole)) === sha256 ? whole : undefined;
  }

  /**
   * Keeps a head of that hash, and lets go of those not put for longest.
   * @throws UsageError (E_DISK_FULL, E_NO_ACCESS, E_FILE)
   */
  async put(sha256: string, bytes: Uint8Array): Promise<void> {
    if (this.folder === undefined) {
      this.use(sha256, bytes);
      for (const oldest of [...this.held.keys()].slice(0, -KEPT_IN_MEMORY)) {
        this.held.delete(oldest);
      }
      return;
    }
    await writeFileAtomic(join(this.folder, `${sha256}.head`), bytes);
    const times = await Promise.all(
      (await readdir(this.folder))
        .filter((name) => NAME.test(name))
        .map((name) => join(this.folder as string, name))
        .map(async (path) => ({
          path,
          ms: (await stat(path).catch(() => undefined))?.mtimeMs ?? 0,
        })),
    );
    const old = times.sort((a, b) => b.ms - a.ms).slice(KEPT_ON_DISK);
    for (const { path } of old) await rm(path, { force: true });
  }

  private use(sha256: string, bytes: Uint8Array): void {
    this.held.delete(sha256);
    this.held.set(sha256, bytes);
  }
}
