import { random } from '../tensor/random.ts';
import type { Sample } from './row.ts';

/** A class's examples are drawn from this part of its rows, the shortest ones. */
const SHORT_PART = 0.25;

/**
 * Chooses labelled rows to stand before every prompt: as even over the classes as `count` allows,
 * from the shorter quarter of each class, since every token of them costs each sample attention.
 * Classes come in turns of random order, so that none always stands last.
 * The rows returned are the given objects: leave them out of training by identity, for a row
 * whose label stands in its own prompt teaches nothing.
 * @param count rows wanted; all rows are returned where there are no more.
 */
export function chooseShots<T extends Sample>(
  rows: readonly T[],
  count: number,
  seed: number,
): T[] {
  const rng = random(seed).fork('shots');
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const group = groups.get(row.label);
    if (group) group.push(row);
    else groups.set(row.label, [row]);
  }
  const length = ({ text, textPair = '' }: Sample) => text.length + textPair.length;
  // In sorted order of labels, so that the choice does not hang on which row came first.
  const names = [...groups.keys()].sort();
  const turns = Math.ceil(count / Math.max(names.length, 1));
  const queues = names.map((name) => {
    const sorted = (groups.get(name) as T[]).toSorted((a, b) => length(a) - length(b));
    const pool = Math.max(Math.ceil(sorted.length * SHORT_PART), turns);
    return [...rng.shuffle(sorted.slice(0, pool)), ...sorted.slice(pool)];
  });
  const chosen: T[] = [];
  for (let turn = 0; chosen.length < Math.min(count, rows.length); turn++) {
    for (const queue of rng.shuffle([...queues])) {
      const row = queue[turn];
      if (row !== undefined && chosen.length < count) chosen.push(row);
    }
  }
  return chosen;
}
