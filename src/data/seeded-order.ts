/** MurmurHash3's 32-bit finalizer: every input bit moves about half of the output bits. */
function mix(value: number): number {
  let h = value >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * A stream of whole numbers in 0 .. n-1 that depends on `key` alone: a Weyl sequence through a
 * finalizer. Enough for orders of rows, and the same on every machine; never for secrets.
 */
export function seededDraws(...key: readonly number[]): (n: number) => number {
  let state = 0x9e3779b9;
  for (const part of key) state = mix(Math.imul(state, 31) + mix(part) + 1);
  return (n) => {
    // Draws past the last whole multiple of n would favour the small ones.
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      state = (state + 0x9e3779b9) >>> 0;
      const draw = mix(state);
      if (draw < limit) return draw % n;
    }
  };
}

/** Shuffles in place (Fisher-Yates) with draws from `draw`; returns its argument. */
export function shuffle<T>(items: T[], draw: (n: number) => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = draw(i + 1);
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}
