import { popScope, pushScope, release } from './lifetime.ts';
import type { Tensor } from './tensor.ts';
import { leaves, type Tree } from './tree.ts';

/**
 * Runs `body` and disposes every tensor born inside, except those in the returned tree, which
 * pass to the surrounding scope. Also on a throw, when nothing survives. Synchronous only.
 */
export function scope<T>(body: () => T): T {
  pushScope();
  let kept = new Set<Tensor>();
  try {
    const result = body();
    kept = new Set(leaves(result));
    return result;
  } finally {
    popScope(kept);
  }
}

/** Takes tensors out of every open scope: the caller disposes them. Returns its argument. */
export function keep<T extends Tree>(tree: T): T {
  release(new Set(leaves(tree)));
  return tree;
}
