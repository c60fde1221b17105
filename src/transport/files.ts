/** Whole files as FILE messages: cut on one end, put together and checked on the other. */
import { ProtocolError } from '../tensor/errors.ts';
import type { Connection } from './connection.ts';
import { FRAME_HEADER_BYTES } from './frames.ts';
import type { FileMessage } from './messages.ts';
import { FILE_HEADER_BYTES } from './payloads.ts';

const DEFAULT_PIECE_BYTES = 256 * 1024;

/** A FILE frame's bytes beside the piece: the headers, a name of 100, a hash. */
const PIECE_OVERHEAD = FRAME_HEADER_BYTES + FILE_HEADER_BYTES + 100 + 32;

/** Largest file put together in memory, in bytes, where the caller names no other. */
export const DEFAULT_MAX_FILE = 2 ** 30;

/** SHA-256 of bytes, hex. */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Sends one file under credit, in pieces of `pieceBytes` or what the other end's window takes; an
 * empty file is one empty piece.
 * @throws ProtocolError (as a rejection) like Connection.send.
 */
export async function sendFile(
  connection: Connection,
  name: string,
  bytes: Uint8Array,
  pieceBytes = DEFAULT_PIECE_BYTES,
): Promise<void> {
  const sha256 = await sha256Hex(bytes);
  const total = bytes.length;
  const step = Math.max(1, Math.min(pieceBytes, connection.largestDataFrame - PIECE_OVERHEAD));
  let offset = 0;
  do {
    const data = bytes.subarray(offset, offset + step);
    const last = offset + data.length === total ? { sha256 } : {};
    await connection.send({ type: 'file', name, offset, total, data, ...last });
    offset += data.length;
  } while (offset < total);
}

/** Puts FILE messages together, one file after another. */
export class FileReceiver {
  readonly #maxBytes: number;
  #current: { name: string; bytes: Uint8Array; filled: number } | undefined;

  constructor(maxBytes = DEFAULT_MAX_FILE) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next piece; gives the file back once its last piece is in and its hash right.
   * @throws ProtocolError (as a rejection) `E_FILE_ORDER` for a piece out of order or a file beyond
   *   the limit, `E_FILE_HASH` for a file that is not what was sent.
   */
  async add(message: FileMessage): Promise<{ name: string; bytes: Uint8Array } | undefined> {
    const { name, offset, total, data, sha256 } = message;
    if (!this.#current) {
      if (total > this.#maxBytes) {
        throw new ProtocolError(
          `file ${name}: ${total} bytes are beyond the ${this.#maxBytes} allowed`,
          'E_FILE_ORDER',
        );
      }
      this.#current = { name, bytes: new Uint8Array(total), filled: 0 };
    }
    const file = this.#current;
    if (name !== file.name || total !== file.bytes.length || offset !== file.filled) {
      throw new ProtocolError(
        `file: ${name} at ${offset} of ${total} where ${file.name} at ${file.filled} of ` +
          `${file.bytes.length} was due`,
        'E_FILE_ORDER',
      );
    }
    file.bytes.set(data, offset);
    file.filled += data.length;
    if (sha256 === undefined) return undefined;
    this.#current = undefined;
    const actual = await sha256Hex(file.bytes);
    if (actual !== sha256) {
      throw new ProtocolError(
        `file ${name}: SHA-256 is ${actual}, it was sent as ${sha256}`,
        'E_FILE_HASH',
      );
    }
    return { name, bytes: file.bytes };
  }
}
