/** The other end's clock, seen from here. */
import type { Connection } from './connection.ts';

/** How far the other end's clock is ahead. */
export interface ClockOffset {
  /** Other end's time minus ours, in milliseconds. */
  readonly offsetMs: number;
  /** The exchange the offset was taken from, there and back; the offset errs by at most half. */
  readonly roundTripMs: number;
}

/**
 * Estimates the offset of the other end's clock: offset = ((t1 - t0) + (t2 - t3)) / 2 of the
 * exchange with the shortest round trip, (t3 - t0) - (t2 - t1) (RFC 5905, section 8).
 * @throws ProtocolError (as a rejection) where the connection ends, or is before its WELCOME.
 */
export async function estimateClockOffset(
  connection: Connection,
  rounds = 8,
): Promise<ClockOffset> {
  let best: ClockOffset | undefined;
  for (let round = 0; round < Math.max(1, rounds); round++) {
    const { t0, t1, t2, t3 } = await connection.ping();
    const roundTripMs = t3 - t0 - (t2 - t1);
    if (!best || roundTripMs < best.roundTripMs) {
      best = { offsetMs: (t1 - t0 + (t2 - t3)) / 2, roundTripMs };
    }
  }
  return best as ClockOffset;
}
