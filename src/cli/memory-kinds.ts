import type { DeviceMemory } from './device-thread.ts';
import { formatBytes } from './progress.ts';

/** What a device's memory is for, in bytes. */
export interface MemoryKinds {
  /** Held from start to end. */
  readonly weights: number;
  /** Layers that are read when it is their turn. */
  readonly slots: number;
  /** Hidden states and their like while a batch runs. */
  readonly activations: number;
  /** Keys and values of the examples in front. */
  readonly kv: number;
  /** What is pooled and packed of a batch, and other arrays of JavaScript. */
  readonly buffers: number;
  /** Node with its threads, the command's code and the vocabulary. */
  readonly runtime: number;
}

/** Bytes of all kinds. */
export function totalOf(kinds: MemoryKinds): number {
  return Object.values(kinds).reduce((sum: number, bytes: number) => sum + bytes, 0);
}

/**
 * What a process took at its widest, by kind: what is no tensor and no array of JavaScript is runtime.
 * @param peakRss bytes, highest resident set of the process
 */
export function measuredKinds(memory: DeviceMemory, peakRss: number): MemoryKinds {
  const { peakBytes, resident: weights, slots, kv, buffers } = memory;
  const activations = Math.max(0, peakBytes - weights - slots - kv);
  const known = weights + slots + activations + kv + buffers;
  return { weights, slots, activations, kv, buffers, runtime: Math.max(0, peakRss - known) };
}

/** `96 MB weights, 12 MB activations, ...`, largest first. */
export function renderKinds(kinds: MemoryKinds): string {
  return Object.entries(kinds)
    .filter(([, bytes]) => bytes > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([kind, bytes]) => `${formatBytes(bytes)} ${kind}`)
    .join(', ');
}
