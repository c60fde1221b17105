import { Tensor } from './tensor.ts';

/** Parameters, gradients and moments: plain nested objects and arrays whose leaves are tensors. */
// biome-ignore lint/suspicious/noExplicitAny: a tree's type is its user's; here only its shape counts
export type Tree = any;

/** The tensors of a tree, in order of keys. Anything that is no tensor, array or plain object is skipped. */
export function leaves(tree: Tree, found: Tensor[] = []): Tensor[] {
  if (tree instanceof Tensor) found.push(tree);
  else if (Array.isArray(tree)) for (const branch of tree) leaves(branch, found);
  else if (isPlainObject(tree)) for (const key of Object.keys(tree)) leaves(tree[key], found);
  return found;
}

/** A tree of the same form with `fn(leaf, path)` at each tensor; other values pass unchanged. */
export function mapTree<T extends Tree>(
  tree: T,
  fn: (leaf: Tensor, path: string) => unknown,
  path = '',
): T {
  if (tree instanceof Tensor) return fn(tree, path) as T;
  const at = (key: string | number) => (path ? `${path}.${key}` : `${key}`);
  if (Array.isArray(tree)) {
    return tree.map((branch, i) => mapTree(branch, fn, at(i))) as T;
  }
  if (isPlainObject(tree)) {
    return Object.fromEntries(
      Object.entries(tree).map(([key, branch]) => [key, mapTree(branch, fn, at(key))]),
    ) as T;
  }
  return tree;
}

/** `path -> tensor`, paths joined by dots (`layers.0.down`): names for a checkpoint. */
export function flatten(tree: Tree): Map<string, Tensor> {
  const named = new Map<string, Tensor>();
  mapTree(tree, (leaf, path) => {
    named.set(path, leaf);
    return leaf;
  });
  return named;
}

/** Disposes every tensor of a tree. */
export function disposeTree(tree: Tree): void {
  for (const leaf of leaves(tree)) leaf.dispose();
}

function isPlainObject(value: unknown): value is Record<string, Tree> {
  return (
    typeof value === 'object' &&
    value !== null &&
    (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)
  );
}
