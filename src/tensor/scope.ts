import { type Backend, defaultBackend } from './backend.ts';
import { UsageError } from './errors.ts';
import { popScope, pushScope, release } from './lifetime.ts';
import type { Tensor } from './tensor.ts';
import { leaves, type Tree } from './tree.ts';

const NOTHING: readonly Tensor[] = [];

/**
 * Runs `body` and disposes every tensor born inside, except those in the returned tree, which
 * pass to the surrounding scope. Also on a throw, when nothing survives. What `valueAndGrad`
 * records inside lives until its gradients are there.
 * @throws UsageError when `body` gives a promise: its tensors would be gone before it is done
 */
export function scope<T>(body: () => T): T {
  pushScope();
  let kept = NOTHING;
  try {
    const result = body();
    if (isThenable(result)) {
      result.then(undefined, () => {}); // this error stands for whatever becomes of it
      throw new UsageError('scope: the body returned a promise; scopes are synchronous');
    }
    kept = leaves(result);
    return result;
  } finally {
    popScope(kept);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/** Takes tensors out of every open scope: the caller disposes them. Returns its argument. */
export function keep<T extends Tree>(tree: T): T {
  release(new Set(leaves(tree)));
  return tree;
}

/** Memory that tensors of a backend hold now: bytes, the most there ever were, and pieces. */
export function live(backend: Backend = defaultBackend()): {
  bytes: number;
  peakBytes: number;
  allocations: number;
} {
  return backend.memory();
}
