/** One question about another process's clock: when it went out, what came back, when it did. */
export interface ClockSample {
  /** Own clock as the question left, ms. */
  readonly sentMs: number;
  /** The other clock as it was read there, ms. */
  readonly remoteMs: number;
  /** Own clock as the answer arrived, ms. */
  readonly receivedMs: number;
}

/**
 * How far, in ms, another process's clock is ahead of this one: `remote - (sent + received) / 2`
 * (Cristian 1989) of the sample that was on its way for the shortest time; off by at most half
 * that time. 0 without samples.
 */
export function clockOffsetMs(samples: Iterable<ClockSample>): number {
  let best: ClockSample | undefined;
  for (const sample of samples) {
    if (!best || sample.receivedMs - sample.sentMs < best.receivedMs - best.sentMs) best = sample;
  }
  return best ? best.remoteMs - (best.sentMs + best.receivedMs) / 2 : 0;
}
