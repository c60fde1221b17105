import { createHash } from 'node:crypto';
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import { fileError } from '../platform/node.ts';
import { FormatError } from '../tensor/index.ts';
import { writeFully } from './sealed-file.ts';
import type { ReceivedBatch } from './training-job.ts';

/** "MBRW" read as a little-endian u32. */
const MAGIC = 0x5752424d;

/** Magic, length of the body, SHA-256 of the body. */
const HEADER_BYTES = 4 + 4 + 32;

const digestOf = (body: Uint8Array) => createHash('sha256').update(body).digest();

/** What stands at a position of the file. */
type Entry =
  | { readonly kind: 'batch'; readonly batch: ReceivedBatch; readonly end: number }
  /** Nothing whole: the file ends in it. */
  | { readonly kind: 'torn' }
  | { readonly kind: 'damaged' };

/**
 * A job's batches on disk, in the order in which they came: what a device has sent once it need not
 * send again. Appended to; the record in which a killed process left off is cut away. Synchronous,
 * like the cache it lives beside.
 */
export class RowLog {
  /** Batches in the file. */
  batches = 0;
  private readonly path: string;
  private readonly file: number;
  private bytes = 0;

  /**
   * Opens or makes the file, and gives the batches in it to `onBatch`.
   * @throws FormatError (E_STATE) for a damaged record before the last; UsageError (E_DISK_FULL,
   *   E_NO_ACCESS, E_FILE)
   */
  constructor(path: string, onBatch: (batch: ReceivedBatch) => void) {
    this.path = path;
    try {
      this.file = openSync(path, 'a+');
      closeSync(this.file);
      this.file = openSync(path, 'r+');
    } catch (error) {
      throw fileError('open job', path, error);
    }
    try {
      this.read(onBatch);
    } catch (error) {
      closeSync(this.file);
      throw fileError('read job', path, error);
    }
  }

  /** Adds a batch. @throws UsageError (E_DISK_FULL, ...) */
  append(batch: ReceivedBatch): void {
    const body = serialize(batch);
    const record = Buffer.alloc(HEADER_BYTES + body.length);
    record.writeUInt32LE(MAGIC, 0);
    record.writeUInt32LE(body.length, 4);
    record.set(digestOf(body), 8);
    record.set(body, HEADER_BYTES);
    try {
      writeFully(this.file, record, this.bytes);
    } catch (error) {
      throw fileError('save job', this.path, error);
    }
    this.bytes += record.length;
    this.batches++;
  }

  /** Puts what was appended onto the disk itself. @throws UsageError (E_DISK_FULL, E_FILE) */
  sync(): void {
    try {
      fsyncSync(this.file);
    } catch (error) {
      throw fileError('save job', this.path, error);
    }
  }

  /** Closes the file; it stays. */
  close(): void {
    closeSync(this.file);
  }

  private read(onBatch: (batch: ReceivedBatch) => void): void {
    const { size } = fstatSync(this.file);
    while (this.bytes < size) {
      const entry = this.entryAt(this.bytes, size);
      if (entry.kind === 'torn') break;
      if (entry.kind === 'damaged') {
        throw new FormatError(
          `read job: ${this.path}: batch ${this.batches} is damaged; the job cannot be continued`,
          'E_STATE',
        );
      }
      onBatch(entry.batch);
      this.bytes = entry.end;
      this.batches++;
    }
    ftruncateSync(this.file, this.bytes);
  }

  private entryAt(start: number, size: number): Entry {
    if (size - start < HEADER_BYTES) return { kind: 'torn' };
    const header = this.bytesAt(start, HEADER_BYTES);
    const end = start + HEADER_BYTES + header.readUInt32LE(4);
    if (header.readUInt32LE(0) !== MAGIC) return { kind: 'damaged' };
    if (end > size) return { kind: 'torn' };
    const body = this.bytesAt(start + HEADER_BYTES, end - start - HEADER_BYTES);
    if (!header.subarray(8).equals(digestOf(body))) {
      // After a power cut a file may have its length and not yet its last bytes.
      return { kind: end === size ? 'torn' : 'damaged' };
    }
    return { kind: 'batch', batch: deserialize(body) as ReceivedBatch, end };
  }

  private bytesAt(start: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const got = readSync(this.file, bytes, done, length - done, start + done);
      if (got === 0) throw new FormatError(`read job: ${this.path}: it was cut short`, 'E_STATE');
      done += got;
    }
    return bytes;
  }
}
