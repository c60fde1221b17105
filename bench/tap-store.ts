import { createHash } from 'node:crypto';
import { appendFileSync, closeSync, mkdirSync, openSync, readSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { Sample } from '../src/data/index.ts';
import type { DeviceEngine, TapKind, TapPlan } from '../src/device/index.ts';
import { layersToSamples } from '../src/model/index.ts';

/** Bytes of a row's SHA-256. */
const HASH_BYTES = 32;

/** Samples that go through the backbone at once. */
const BATCH = 32;

/** What of a plan, and of the model, decides what a row's taps are. */
export interface TapSource {
  /** Hash of the model's weights, or what else names them. */
  readonly model: string;
  readonly precision: string;
  readonly layerCount: number;
  readonly width: number;
}

/**
 * Pooled taps of rows, all layers of them, so that whatever is trained on them later the backbone runs
 * once a row: what it makes depends neither on the side network nor on its seed. With a folder
 * they outlive the process, in one file for a model, a template and a prefix.
 */
export class TapStore {
  private readonly rows = new Map<string, Float32Array>();
  private readonly source: TapSource;
  private readonly kinds: readonly TapKind[];
  private readonly plan: TapPlan;
  private readonly file: string | undefined;

  /**
   * @param plan decides the wording; its layers and kinds are those that `get` gives, which are all
   *   that is held in memory
   * @param kinds kept in the file, those of the plan among them
   */
  constructor(source: TapSource, plan: TapPlan, kinds: readonly TapKind[], folder?: string) {
    this.source = source;
    this.plan = plan;
    this.kinds = kinds;
    if (folder === undefined) return;
    const { template, prefix, maxSeqLength, labels } = plan;
    // Labels stand in a prompt only where it names them.
    const named = template.includes('{labels}') ? labels : [];
    const key = JSON.stringify([source, kinds, template, prefix, maxSeqLength, named]);
    mkdirSync(folder, { recursive: true });
    this.file = join(folder, `${createHash('sha256').update(key).digest('hex').slice(0, 16)}.taps`);
    this.read(this.file);
  }

  /** A row's taps `[L, K, D]`, of the plan's layers and kinds. */
  get(sample: Sample): Float32Array {
    return this.rows.get(hashOf(sample)) as Float32Array;
  }

  /** Runs what is not there yet through the backbone. */
  add(engine: DeviceEngine, samples: readonly Sample[]): void {
    const missing = samples.filter((sample) => !this.rows.has(hashOf(sample)));
    if (missing.length === 0) return;
    const { layerCount } = this.source;
    const layers = Array.from({ length: layerCount }, (_, i) => i + 1);
    engine.usePlan({ ...this.plan, layers, kinds: this.kinds });
    for (let start = 0; start < missing.length; start += BATCH) {
      const part = missing.slice(start, start + BATCH);
      const { taps } = engine.pool(part);
      layersToSamples(taps, part.length).forEach((row, i) => {
        const hash = hashOf(part[i]);
        if (this.file) {
          const bytes = new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
          appendFileSync(this.file, Buffer.concat([Buffer.from(hash, 'hex'), bytes]));
        }
        this.rows.set(hash, this.choose(row));
      });
      process.stderr.write(`\rbackbone: ${start + part.length}/${missing.length} samples `);
    }
    process.stderr.write('\n');
  }

  /** The plan's layers and kinds out of all. */
  private choose(row: Float32Array): Float32Array {
    const { width } = this.source;
    const { layers, kinds } = this.plan;
    const out = new Float32Array(layers.length * kinds.length * width);
    let to = 0;
    for (const layer of layers) {
      for (const kind of kinds) {
        const from =
          ((layer - 1) * this.kinds.length + this.kinds.indexOf(kind as TapKind)) * width;
        out.set(row.subarray(from, from + width), to);
        to += width;
      }
    }
    return out;
  }

  /** Takes in a file's rows; what a broken write left at its end is cut away. */
  private read(file: string): void {
    const { layerCount, width } = this.source;
    const record = Buffer.alloc(HASH_BYTES + 4 * layerCount * this.kinds.length * width);
    const open = openSync(file, 'a+');
    let position = 0;
    try {
      while (readSync(open, record, 0, record.length, position) === record.length) {
        const values = record.buffer.slice(
          record.byteOffset + HASH_BYTES,
          record.byteOffset + record.length,
        );
        this.rows.set(record.toString('hex', 0, HASH_BYTES), this.choose(new Float32Array(values)));
        position += record.length;
      }
    } finally {
      closeSync(open);
    }
    truncateSync(file, position);
  }
}

/** SHA-256 (hex) of what a row says, its label aside. */
export function hashOf({ text, textPair }: Sample): string {
  return createHash('sha256')
    .update(JSON.stringify([text, textPair ?? null]))
    .digest('hex');
}
