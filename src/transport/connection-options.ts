import { DEFAULT_MAX_PAYLOAD } from './frames.ts';
import type { Role } from './messages.ts';

/** Options of a connection; the defaults suit a LAN. */
export interface ConnectionOptions {
  /** Which end this is. */
  readonly role: Role;
  /** How the other end is called in errors, such as its url. */
  readonly remote?: string;
  /** Largest payload accepted and sent, in bytes. */
  readonly maxPayload?: number;
  /** Sends wait while the channel holds more than this, in bytes. */
  readonly highWaterMark?: number;
  /** Bound on messages received and not yet taken, data frames apart, in bytes. */
  readonly maxQueuedBytes?: number;
  /** Silence after which the other end is asked for a sign of life, in ms; 0 never asks. */
  readonly pingIntervalMs?: number;
  /** Silence after which the connection fails with `E_IDLE_TIMEOUT`, in ms; 0 waits for ever. */
  readonly idleTimeoutMs?: number;
  /** Milliseconds since 1970, monotonic. */
  readonly now?: () => number;
}

/** Options with every default filled in, who is who apart. */
export type ConnectionLimits = Required<Omit<ConnectionOptions, 'role' | 'remote'>>;

/** Fills the defaults in. */
export function withDefaults(options: ConnectionOptions): ConnectionLimits {
  return {
    maxPayload: options.maxPayload ?? DEFAULT_MAX_PAYLOAD,
    highWaterMark: options.highWaterMark ?? 2 ** 20,
    maxQueuedBytes: options.maxQueuedBytes ?? 64 * 2 ** 20,
    pingIntervalMs: options.pingIntervalMs ?? 10_000,
    idleTimeoutMs: options.idleTimeoutMs ?? 60_000,
    now: options.now ?? (() => performance.timeOrigin + performance.now()),
  };
}
