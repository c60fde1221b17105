/**
 * The frame: twenty bytes of header, little-endian, and a payload. Knows no message, no server and
 * no socket; docs/protocol.md has the table of bytes.
 */
import { ProtocolError } from '../tensor/errors.ts';

/** The version in every frame, in HELLO and in the subprotocol's name. */
export const PROTOCOL_VERSION = 3;

/** "MBLM" read as a little-endian u32. */
export const FRAME_MAGIC = 0x4d4c424d;

/** Bytes of a frame's header. */
export const FRAME_HEADER_BYTES = 20;

/** Largest payload, in bytes, where the options name no other. */
export const DEFAULT_MAX_PAYLOAD = 16 * 2 ** 20;

/** What stands in a frame's header but the payload's length. */
export interface FrameHeader {
  /** Message type number, see MESSAGE_TYPES. */
  readonly type: number;
  /** The job the frame belongs to, 0 where there is none. */
  readonly job: number;
  /** Counts the frames of one direction from 0, modulo 2^32. */
  readonly sequence: number;
}

/** One whole frame; `payload` may alias the bytes it was parsed from. */
export interface Frame extends FrameHeader {
  readonly payload: Uint8Array;
}

/** Bytes allowed as payload of a type; throws a ProtocolError where the type is unknown. */
export type PayloadLimit = (type: number) => number;

/**
 * One frame out of a header and the parts of its payload, copied one after another.
 * @throws ProtocolError `E_FRAME_SIZE` where the payload is beyond `limit` bytes.
 */
export function encodeFrame(
  header: FrameHeader,
  parts: readonly Uint8Array[],
  limit = DEFAULT_MAX_PAYLOAD,
): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  checkPayloadSize(header.type, length, limit);
  const frame = new Uint8Array(FRAME_HEADER_BYTES + length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, FRAME_MAGIC, true);
  view.setUint8(4, PROTOCOL_VERSION);
  view.setUint8(5, header.type);
  view.setUint16(6, 0, true);
  view.setUint32(8, header.job, true);
  view.setUint32(12, header.sequence, true);
  view.setUint32(16, length, true);
  let at = FRAME_HEADER_BYTES;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/**
 * Cuts a stream of bytes into frames, however it was chunked. A header is judged as soon as its
 * twenty bytes are there, so nothing is ever held or allocated for a payload that is not allowed.
 * After a fault the decoder refuses everything: a stream that lost its frames cannot find them.
 */
export class FrameDecoder {
  readonly #limit: PayloadLimit;
  /** The unfinished frame; grows by doubling, so that tiny chunks cost no more than large ones. */
  #held = new Uint8Array(0);
  #heldBytes = 0;
  #header: ParsedHeader | undefined;
  #fault: unknown;

  constructor(limit: PayloadLimit = () => DEFAULT_MAX_PAYLOAD) {
    this.#limit = limit;
  }

  /** Bytes of a frame that has begun and is not whole. */
  get pendingBytes(): number {
    return this.#heldBytes;
  }

  /**
   * Takes the next bytes and hands on the frames they complete; a payload that lies whole in
   * `chunk` aliases it, so the caller gives the chunk away.
   * @throws ProtocolError `E_FRAME_MAGIC`, `E_PROTOCOL_VERSION`, `E_FRAME_FLAGS`, `E_FRAME_SIZE`,
   *   or what the limit throws; the frames before the fault have been handed on.
   */
  push(chunk: Uint8Array, onFrame: (frame: Frame) => void): void {
    if (this.#fault) throw this.#fault;
    let rest = chunk;
    while (rest.length > 0) {
      const whole = this.#heldBytes === 0 ? this.#cut(rest) : undefined;
      if (whole) {
        rest = rest.subarray(FRAME_HEADER_BYTES + whole.payload.length);
        onFrame(whole);
        continue;
      }
      const need = FRAME_HEADER_BYTES + (this.#header?.length ?? 0);
      rest = rest.subarray(this.#hold(rest, need));
      if (this.#heldBytes < FRAME_HEADER_BYTES) return;
      const frame = this.#cut(this.#held.subarray(0, this.#heldBytes));
      if (frame) {
        this.#held = new Uint8Array(0);
        this.#heldBytes = 0;
        onFrame(frame);
      }
    }
  }

  /**
   * The stream has ended.
   * @throws ProtocolError `E_FRAME_TRUNCATED` where that was amid a frame.
   */
  end(): void {
    if (this.#fault === undefined && this.#heldBytes > 0) {
      throw new ProtocolError(
        `frame: the stream ended after ${this.#heldBytes} bytes of an unfinished frame`,
        'E_FRAME_TRUNCATED',
      );
    }
  }

  /** The frame that `bytes` begin with; undefined where they are too few. */
  #cut(bytes: Uint8Array): Frame | undefined {
    if (bytes.length < FRAME_HEADER_BYTES) return undefined;
    try {
      this.#header ??= parseHeader(bytes, this.#limit);
    } catch (error) {
      this.#fault = error;
      this.#held = new Uint8Array(0);
      throw error;
    }
    const { type, job, sequence, length } = this.#header;
    if (bytes.length < FRAME_HEADER_BYTES + length) return undefined;
    this.#header = undefined;
    const payload = bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length);
    return { type, job, sequence, payload };
  }

  /** Copies bytes to the unfinished frame until it has `need`; returns how many. */
  #hold(bytes: Uint8Array, need: number): number {
    const taken = Math.min(bytes.length, need - this.#heldBytes);
    const filled = this.#heldBytes + taken;
    if (filled > this.#held.length) {
      const grown = new Uint8Array(Math.min(need, Math.max(filled, 2 * this.#held.length)));
      grown.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = grown;
    }
    this.#held.set(bytes.subarray(0, taken), this.#heldBytes);
    this.#heldBytes = filled;
    return taken;
  }
}

type ParsedHeader = FrameHeader & { readonly length: number };

function parseHeader(bytes: Uint8Array, limit: PayloadLimit): ParsedHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES);
  const magic = view.getUint32(0, true);
  if (magic !== FRAME_MAGIC) {
    throw new ProtocolError(
      `frame: starts with 0x${magic.toString(16).padStart(8, '0')}, not the magic ` +
        `0x${FRAME_MAGIC.toString(16)}`,
      'E_FRAME_MAGIC',
    );
  }
  const version = view.getUint8(4);
  if (version !== PROTOCOL_VERSION) throw versionMismatch(`version ${version}`);
  const flags = view.getUint16(6, true);
  if (flags !== 0) {
    throw new ProtocolError(`frame: flags ${flags}, version 1 has none`, 'E_FRAME_FLAGS');
  }
  const type = view.getUint8(5);
  const length = view.getUint32(16, true);
  checkPayloadSize(type, length, limit(type));
  return { type, job: view.getUint32(8, true), sequence: view.getUint32(12, true), length };
}

/** The fault of two ends that speak different versions; names both. */
export function versionMismatch(theirs: string): ProtocolError {
  return new ProtocolError(
    `protocol: the other end speaks ${theirs}, this end speaks version ${PROTOCOL_VERSION}; ` +
      'use the same release of mobillm on both',
    'E_PROTOCOL_VERSION',
  );
}

/**
 * Is a payload as long as its type allows?
 * @throws ProtocolError `E_FRAME_SIZE` where it is longer, in bytes.
 */
export function checkPayloadSize(type: number, length: number, limit: number): void {
  if (length > limit) {
    throw new ProtocolError(
      `frame: payload of ${length} bytes is beyond the ${limit} allowed for type ${type}`,
      'E_FRAME_SIZE',
    );
  }
}
