/**
 * One end of a channel between two threads, the same in Node and in a browser.
 * Values cross by structured clone; what is named in `transfer` moves and is empty here afterwards.
 */
export interface WorkerPort {
  /** Sends `value` to the other end. */
  postMessage(value: unknown, transfer?: readonly Transferable[]): void;
  /** Calls `callback` for every message; messages that came before wait for the first callback. */
  onMessage(callback: (value: unknown) => void): void;
  /**
   * Calls `callback` when the other end dies of an error or ends unasked, once per failure;
   * failures that came before wait for the first callback.
   */
  onError(callback: (error: Error) => void): void;
  /** Ends the thread (seen from outside) or this thread's channel (seen from inside). */
  terminate(): Promise<void>;
}
