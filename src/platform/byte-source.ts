import { FormatError } from '../tensor/errors.ts';

/**
 * Random access to bytes that live elsewhere: a file, a blob, a URL with range requests. Readers of
 * weights take one of these and never a path, so they run in a browser as they do in Node.
 */
export interface ByteSource {
  /** What to call it in messages: a path, a URL. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /**
   * Exactly `length` bytes from `offset`, in an array of their own (byteOffset 0).
   * @throws FormatError `E_TRUNCATED` when the range does not lie inside the source.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /**
   * Fills `target` with the bytes from `offset`, wherever its memory is; it must not move meanwhile.
   * @throws FormatError `E_TRUNCATED` when the range does not lie inside the source.
   */
  readInto(offset: number, target: Uint8Array): Promise<void>;
  /** As `readInto`, done when it returns: for a forward pass. Left out where that cannot be. */
  readIntoSync?(offset: number, target: Uint8Array): void;
  /** Gives the handle back; reading afterwards fails. Closing twice is fine. */
  close(): Promise<void>;
}

/** A SHA-256 over bytes that come in pieces. */
export interface Hasher {
  /** Takes the next piece. */
  update(bytes: Uint8Array): void;
  /** 64 lower-case hex digits. */
  hex(): string;
}

/**
 * Checks a byte range against a source before anything is allocated for it.
 * @throws FormatError `E_TRUNCATED` when `offset` or `length` is no whole number of bytes at or
 * above 0, or the range ends after `size` bytes.
 */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
  if (!whole || offset < 0 || length < 0 || length > size - offset) {
    throw new FormatError(
      `read: ${name}: ${length} bytes at ${offset} are not inside its ${size} bytes`,
      'E_TRUNCATED',
    );
  }
}

/** A source over bytes in memory; reads are copies, so the reader may keep or change them. */
export function memoryByteSource(bytes: Uint8Array, name = 'memory'): ByteSource {
  let data: Uint8Array | null = bytes;
  const fill = (offset: number, target: Uint8Array) => {
    if (data === null) throw new FormatError(`read: ${name}: source is closed`);
    checkRange(name, data.byteLength, offset, target.byteLength);
    target.set(data.subarray(offset, offset + target.byteLength));
  };
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length) {
      if (data === null) throw new FormatError(`read: ${name}: source is closed`);
      checkRange(name, data.byteLength, offset, length);
      return data.slice(offset, offset + length);
    },
    async readInto(offset, target) {
      fill(offset, target);
    },
    readIntoSync: fill,
    async close() {
      data = null;
    },
  };
}
