/** Signs of life: when to ask for one, when to give up, and who waits for which answer. */
import type { ClockMessage } from './messages.ts';

/** One clock exchange: t0, t3 by this end's clock, t1, t2 by the other's; milliseconds. */
export interface ClockSample {
  readonly t0: number;
  readonly t1: number;
  readonly t2: number;
  readonly t3: number;
}

/** Id of a ping whose answer nobody waits for. */
export const KEEPALIVE_ID = 0;

/** Watches the silence of the other end. */
export class Heartbeat {
  #lastHeard = performance.now();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Milliseconds, 0 for never; `ask` runs every interval, `silent` once, at the timeout. */
  constructor(
    pingIntervalMs: number,
    idleTimeoutMs: number,
    ask: () => void,
    silent: (ms: number) => void,
  ) {
    const never = Number.POSITIVE_INFINITY;
    const period = Math.min(pingIntervalMs || never, idleTimeoutMs || never);
    if (period === never) return;
    let lastTick = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.now();
      // A process that was stopped finds its timers due before it has read its socket.
      const stalled = now - lastTick > 2 * period;
      lastTick = now;
      if (stalled) return;
      const silence = now - this.#lastHeard;
      if (idleTimeoutMs > 0 && silence >= idleTimeoutMs) silent(silence);
      else if (pingIntervalMs > 0) ask();
    }, period);
    // In Node a timer alone must not keep the process alive; in browsers it is a number.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  /** Something came from the other end. */
  heard(): void {
    this.#lastHeard = performance.now();
  }

  /** Stops watching. */
  stop(): void {
    clearInterval(this.#timer);
  }
}

/** Clock exchanges under way. */
export class Pings {
  readonly #waiting = new Map<
    number,
    { resolve: (sample: ClockSample) => void; reject: (error: Error) => void }
  >();
  #next = KEEPALIVE_ID + 1;

  /** A new exchange: its id, and the sample to come. */
  begin(): { id: number; sample: Promise<ClockSample> } {
    const id = this.#next;
    this.#next = id === 2 ** 32 - 1 ? KEEPALIVE_ID + 1 : id + 1;
    const sample = new Promise<ClockSample>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    // Whoever began it may have failed to send it and gone away.
    sample.catch(() => {});
    return { id, sample };
  }

  /** An answer came at `t3`; one that nobody waits for is let pass. */
  answered({ id, t0, t1, t2 }: ClockMessage, t3: number): void {
    this.#waiting.get(id)?.resolve({ t0, t1, t2, t3 });
    this.#waiting.delete(id);
  }

  /** No more answers will come. */
  abort(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
