import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileError } from '../platform/node.ts';
import { FormatError } from '../tensor/index.ts';

/** Records that share one allocation. */
const CHUNK_RECORDS = 256;

/** How large a record is, how much memory records may take, and where the rest goes. */
export interface ActivationCacheOptions {
  /** Bytes of one row's encoded taps: all layers, all kinds. */
  readonly recordBytes: number;
  /** Bytes held in memory; what comes after goes to a file. */
  readonly memoryLimit: number;
  /** Where that file is made; default the system's temporary folder. */
  readonly spillDir?: string;
}

/**
 * The received activations, still quantized, by row id: the backbone is frozen, so a row's taps are
 * the same in every epoch and the device need not send them again. Synchronous: it lives in the
 * training worker, whose event loop serves nobody else.
 */
export class ActivationCache {
  readonly recordBytes: number;
  private readonly memoryRecords: number;
  private readonly spillDir: string;
  private readonly slots = new Map<number, number>();
  private readonly chunks: Uint8Array[] = [];
  private spill: { folder: string; file: number } | undefined;

  constructor(options: ActivationCacheOptions) {
    this.recordBytes = options.recordBytes;
    this.memoryRecords = Math.floor(options.memoryLimit / options.recordBytes);
    this.spillDir = options.spillDir ?? tmpdir();
  }

  /** Rows held. */
  get size(): number {
    return this.slots.size;
  }

  /** Bytes of records held in memory. */
  get memoryBytes(): number {
    return Math.min(this.size, this.memoryRecords) * this.recordBytes;
  }

  /** Bytes of records in the spill file. */
  get spilledBytes(): number {
    return Math.max(0, this.size - this.memoryRecords) * this.recordBytes;
  }

  /** Whether a row's record is held. */
  has(row: number): boolean {
    return this.slots.has(row);
  }

  /**
   * Takes a copy of a row's record.
   * @throws FormatError for another length or a row that is already held
   * @throws UsageError (E_DISK_FULL) when spilling fails
   */
  put(row: number, record: Uint8Array): void {
    if (record.length !== this.recordBytes) {
      throw new FormatError(
        `activation cache: row ${row} has ${record.length} bytes, expected ${this.recordBytes}`,
      );
    }
    if (this.slots.has(row)) throw new FormatError(`activation cache: row ${row} came twice`);
    const slot = this.slots.size;
    if (slot < this.memoryRecords) this.chunkOf(slot).set(record, this.offsetOf(slot));
    else this.spillRecord(slot, record);
    this.slots.set(row, slot);
  }

  /**
   * The record of a row; valid until the next call.
   * @throws FormatError when the row is not held
   */
  get(row: number): Uint8Array {
    const slot = this.slots.get(row);
    if (slot === undefined) throw new FormatError(`activation cache: row ${row} is not held`);
    if (slot < this.memoryRecords) {
      const at = this.offsetOf(slot);
      return this.chunks[Math.floor(slot / CHUNK_RECORDS)].subarray(at, at + this.recordBytes);
    }
    const out = new Uint8Array(this.recordBytes);
    const { file, folder } = this.openSpill();
    const at = (slot - this.memoryRecords) * this.recordBytes;
    if (readSync(file, out, 0, out.length, at) !== out.length) {
      throw new FormatError(`activation cache: spill file in ${folder} was cut short`);
    }
    return out;
  }

  /** Forgets everything and removes the spill file. */
  close(): void {
    this.slots.clear();
    this.chunks.length = 0;
    if (!this.spill) return;
    closeSync(this.spill.file);
    rmSync(this.spill.folder, { recursive: true, force: true });
    this.spill = undefined;
  }

  private offsetOf(slot: number): number {
    return (slot % CHUNK_RECORDS) * this.recordBytes;
  }

  private chunkOf(slot: number): Uint8Array {
    const index = Math.floor(slot / CHUNK_RECORDS);
    this.chunks[index] ??= new Uint8Array(CHUNK_RECORDS * this.recordBytes);
    return this.chunks[index];
  }

  private openSpill() {
    if (!this.spill) {
      const folder = mkdtempSync(join(this.spillDir, 'mobillm-spill-'));
      const path = join(folder, 'activations.bin');
      this.spill = { folder, file: openSync(path, 'w+') };
      // Without a name the file goes with the process, however that ends. Windows does not let go
      // of an open file; there `close` removes it.
      try {
        rmSync(folder, { recursive: true });
      } catch {}
    }
    return this.spill;
  }

  private spillRecord(slot: number, record: Uint8Array): void {
    const path = this.spillDir;
    try {
      const { file } = this.openSpill();
      const start = (slot - this.memoryRecords) * this.recordBytes;
      let done = 0;
      while (done < record.length) {
        done += writeSync(file, record, done, record.length - done, start + done);
      }
    } catch (error) {
      throw fileError('spill activations', path, error);
    }
  }
}
