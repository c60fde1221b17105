/**
 * Flow control by credit: an end may have as many bytes of data frames (TAPS, BATCH, FILE; header
 * and payload) under way as the other has granted. The receiver grants anew what it has consumed,
 * not what has arrived, so a slow consumer stops a fast sender and memory stays bounded.
 */
import { ProtocolError } from '../tensor/errors.ts';

/** Share of the window that is consumed before it is granted anew in one CREDIT. */
const GRANT_SHARE = 4;

/**
 * The largest data frame for a window. Half of it: with at most a quarter consumed and not yet
 * granted, a frame of half the window always finds room in the end, so the two ends cannot wait
 * for each other.
 */
export function largestDataFrame(window: number): number {
  return Math.floor(window / 2);
}

/** The sender's side: what may still be sent. */
export class SendCredit {
  #window = 0;
  #available = 0;
  #waiting: { bytes: number; resolve: () => void; reject: (error: Error) => void } | undefined;

  /** Bytes of the largest frame the window takes. */
  get largest(): number {
    return largestDataFrame(this.#window);
  }

  /** Bytes that may be sent at once. */
  get available(): number {
    return this.#available;
  }

  /** The other end opens its window. */
  open(window: number): void {
    this.#window = window;
    this.grant(window);
  }

  /**
   * The other end has consumed bytes.
   * @throws ProtocolError `E_CREDIT` where it grants more than its window.
   */
  grant(bytes: number): void {
    if (this.#available + bytes > this.#window) {
      throw new ProtocolError(
        `credit: a grant of ${bytes} bytes on top of ${this.#available} passes the window of ` +
          `${this.#window}`,
        'E_CREDIT',
      );
    }
    this.#available += bytes;
    const waiting = this.#waiting;
    if (waiting && waiting.bytes <= this.#available) {
      this.#waiting = undefined;
      this.#available -= waiting.bytes;
      waiting.resolve();
    }
  }

  /**
   * Takes credit for one frame where there is enough of it; says whether it did.
   * @throws ProtocolError `E_CREDIT` where the window can never hold the frame.
   */
  tryTake(bytes: number): boolean {
    if (bytes > this.largest) {
      throw new ProtocolError(
        `credit: a frame of ${bytes} bytes is beyond ${this.largest}, half the ` +
          `window of ${this.#window}; send smaller tiles`,
        'E_CREDIT',
      );
    }
    if (bytes > this.#available) return false;
    this.#available -= bytes;
    return true;
  }

  /** Takes credit for one frame, waiting for it where need be; one caller at a time. */
  async take(bytes: number): Promise<void> {
    if (this.tryTake(bytes)) return;
    await new Promise<void>((resolve, reject) => {
      this.#waiting = { bytes, resolve, reject };
    });
  }

  /** Whoever waits waits in vain. */
  abort(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

/** The receiver's side: what the other end may still send, and what has been consumed. */
export class ReceiveCredit {
  #window = 0;
  #outstanding = 0;
  #consumed = 0;

  /** Announces a window, in HELLO or WELCOME. */
  open(window: number): void {
    this.#window = window;
    this.#outstanding = window;
  }

  /**
   * A data frame has come.
   * @throws ProtocolError `E_CREDIT` where it was not covered.
   */
  received(bytes: number): void {
    if (bytes > this.#outstanding) {
      throw new ProtocolError(
        `credit: a frame of ${bytes} bytes came with ${this.#outstanding} granted`,
        'E_CREDIT',
      );
    }
    this.#outstanding -= bytes;
  }

  /** A data frame has been dealt with; returns the bytes to grant now, often 0. */
  consumed(bytes: number): number {
    this.#consumed += bytes;
    if (this.#consumed === 0 || this.#consumed < this.#window / GRANT_SHARE) return 0;
    const grant = this.#consumed;
    this.#consumed = 0;
    this.#outstanding += grant;
    return grant;
  }
}
