/** Messages received and not yet taken, and who waits for them. */
import { ProtocolError } from '../tensor/errors.ts';
import type { Message } from './messages.ts';

/** A message and what it took of the wire; `data` frames are bounded by credit. */
export interface Received {
  readonly message: Message;
  readonly frameBytes: number;
  readonly data: boolean;
}

/** A queue of messages with one typed end. */
export class Inbox {
  readonly #maxBytes: number;
  readonly #onConsumed: (bytes: number) => void;
  #queue: Received[] = [];
  /** Bytes in the queue that no credit bounds. */
  #bytes = 0;
  /** Bytes of data taken since the consumer last came back. */
  #taken = 0;
  #waiters: { resolve: (m: Message | undefined) => void; reject: (e: Error) => void }[] = [];
  #end: { error: ProtocolError | undefined } | undefined;

  /** `onConsumed` is told the bytes of data frames that the consumer has dealt with. */
  constructor(maxBytes: number, onConsumed: (bytes: number) => void) {
    this.#maxBytes = maxBytes;
    this.#onConsumed = onConsumed;
  }

  /** Messages in the queue. */
  get length(): number {
    return this.#queue.length;
  }

  /**
   * Puts a message at the end of the queue, or hands it to who waits.
   * @throws ProtocolError `E_OVERLOAD` where messages without credit pile up.
   */
  push(received: Received): void {
    const waiter = this.#waiters.shift();
    if (waiter) {
      if (received.data) this.#taken += received.frameBytes;
      waiter.resolve(received.message);
      return;
    }
    this.#queue.push(received);
    if (received.data) return;
    this.#bytes += received.frameBytes;
    if (this.#bytes > this.#maxBytes) {
      throw new ProtocolError(
        `receive: ${this.#bytes} bytes of messages wait to be read, ${this.#maxBytes} may`,
        'E_OVERLOAD',
      );
    }
  }

  /** The next message; asking for it says that the one before has been dealt with. */
  async receive(): Promise<Message | undefined> {
    this.#consume();
    const next = this.#queue.shift();
    if (next) {
      if (next.data) this.#taken += next.frameBytes;
      else this.#bytes -= next.frameBytes;
      return next.message;
    }
    if (this.#end) {
      if (this.#end.error) throw this.#end.error;
      return undefined;
    }
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Drops the data of a cancelled job, which counts as consumed. */
  dropData(): void {
    for (const { data, frameBytes } of this.#queue) if (data) this.#taken += frameBytes;
    this.#queue = this.#queue.filter(({ data }) => !data);
    this.#consume();
  }

  /** No more will come; who waits learns it now, who asks later after the queue. */
  end(error: ProtocolError | undefined): void {
    this.#end = { error };
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (error) reject(error);
      else resolve(undefined);
    }
  }

  #consume(): void {
    const bytes = this.#taken;
    this.#taken = 0;
    if (bytes > 0) this.#onConsumed(bytes);
  }
}
