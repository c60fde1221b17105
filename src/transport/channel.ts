/** What a connection needs of the thing beneath it: a socket, a pair in memory, a worker's port. */
import { ProtocolError } from '../tensor/errors.ts';

/** Close code of an orderly end (RFC 6455, 7.4.1). */
export const CLOSE_NORMAL = 1000;

/** Close code where no close frame was seen: the peer died or the network did (RFC 6455). */
export const CLOSE_ABNORMAL = 1006;

/** Close code of a socket that was sent more than it accepts (RFC 6455, 7.4.1). */
export const CLOSE_TOO_BIG = 1009;

/** Our close code after an ERROR frame; the reason starts with the error's code. */
export const CLOSE_FAULT = 4000;

/** Our close code where the ends speak different versions. */
export const CLOSE_VERSION = 4001;

/** The fault that an unexpected close code stands for. */
export function closeFault(text: string, code: number): ProtocolError {
  if (code === CLOSE_VERSION) return new ProtocolError(text, 'E_PROTOCOL_VERSION');
  if (code === CLOSE_TOO_BIG) return new ProtocolError(text, 'E_FRAME_SIZE');
  return new ProtocolError(text, 'E_CLOSED');
}

/** Moves bytes both ways, in order. Delivers nothing after its end. */
export interface Channel {
  /** Hands bytes over, never blocks; the channel owns them from then on. Throws where closed. */
  send(bytes: Uint8Array): void;
  /** Bytes handed over and not yet on their way. */
  readonly bufferedAmount: number;
  /** Sets the one receiver of bytes, in any chunking; it may keep them. */
  onMessage(handler: (bytes: Uint8Array) => void): void;
  /** Sets the one receiver of the end, called once, whichever side closed. */
  onClose(handler: (code: number, reason: string) => void): void;
  /** Ends the channel after what was handed over; a second call does nothing. */
  close(code: number, reason: string): void;
}

/**
 * Two ends in one process, for tests and for a device and a server that share one. Bytes arrive in
 * later microtasks, in order, as copies: what a wire does, without the wire.
 */
export function memoryChannelPair(): [Channel, Channel] {
  const a = new MemoryChannel();
  const b = new MemoryChannel();
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class MemoryChannel implements Channel {
  peer: MemoryChannel | undefined;
  bufferedAmount = 0;
  #open = true;
  #receive: ((bytes: Uint8Array) => void) | undefined;
  #ended: ((code: number, reason: string) => void) | undefined;
  #early: Uint8Array[] = [];

  send(bytes: Uint8Array): void {
    if (!this.#open) throw new Error('memory channel: send after close');
    const copy = bytes.slice();
    this.bufferedAmount += copy.length;
    queueMicrotask(() => {
      this.bufferedAmount -= copy.length;
      this.peer?.deliver(copy);
    });
  }

  onMessage(handler: (bytes: Uint8Array) => void): void {
    this.#receive = handler;
    for (const bytes of this.#early.splice(0)) handler(bytes);
  }

  onClose(handler: (code: number, reason: string) => void): void {
    this.#ended = handler;
  }

  close(code: number, reason: string): void {
    if (!this.#open) return;
    // Behind the bytes already handed over.
    queueMicrotask(() => this.peer?.end(code, reason));
    this.#open = false;
    queueMicrotask(() => this.#ended?.(code, reason));
  }

  deliver(bytes: Uint8Array): void {
    if (!this.#open) return;
    if (this.#receive) this.#receive(bytes);
    else this.#early.push(bytes);
  }

  end(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#ended?.(code, reason);
  }
}
