import type { Shape, Tensor } from '../../src/tensor/index.ts';

/** A tensor's elements as nested arrays: the naive models of the tests index these. */
export type Nested = number | Nested[];

/** Nested arrays with `f(index)` at each place. */
export function build(shape: Shape, f: (index: number[]) => number, index: number[] = []): Nested {
  if (index.length === shape.length) return f(index);
  return Array.from({ length: shape[index.length] }, (_, i) => build(shape, f, [...index, i]));
}

/** The number at an index. */
export function at(nested: Nested, index: readonly number[]): number {
  return index.reduce<Nested>((branch, i) => (branch as Nested[])[i], nested) as number;
}

/** A tensor as nested arrays. */
export function toNested(x: Tensor): Nested {
  const flat = x.toArray();
  let next = 0;
  return build(x.shape, () => flat[next++]);
}
