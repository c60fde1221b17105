import type { ByteSink } from '../../src/model/index.ts';

/** A sink that keeps what is written, zeros in between. */
export function memorySink(): ByteSink & { bytes(): Uint8Array } {
  let held = new Uint8Array(0);
  return {
    async write(offset, bytes) {
      const size = Math.max(held.length, offset + bytes.length);
      const grown = new Uint8Array(size);
      grown.set(held);
      grown.set(bytes, offset);
      held = grown;
    },
    bytes: () => held,
  };
}
