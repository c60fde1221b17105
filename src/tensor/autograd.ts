import { DTypeError, ShapeError, UsageError } from './errors.ts';
import { holdBirths } from './lifetime.ts';
import { scope } from './scope.ts';
import { formatShape } from './shape.ts';
import { ones, Tensor, zeros } from './tensor.ts';
import { leaves, mapTree, type Tree } from './tree.ts';

/**
 * Gradients of the inputs, in their order, from the gradient of the output; null, or nothing at
 * the end of the list: none flows. Runs with recording off and in a scope of its own.
 */
export type Vjp = (dOut: Tensor) => readonly (Tensor | null)[];

interface TapeEntry {
  readonly output: Tensor;
  readonly inputs: readonly Tensor[];
  readonly vjp: Vjp;
}

/** What was computed from the tracked tensors, in order. */
interface Tape {
  readonly tracked: Set<Tensor>;
  readonly entries: TapeEntry[];
}

let tape: Tape | undefined;

/** Puts another tape (or none) in place for the time of `body`. */
function withTape<T>(next: Tape | undefined, body: () => T): T {
  const outer = tape;
  const held = holdBirths(next !== undefined);
  tape = next;
  try {
    return body();
  } finally {
    tape = outer;
    holdBirths(held);
  }
}

/** Whether an operation run now would be recorded; the frozen backbone asserts it is not. */
export function isRecording(): boolean {
  return tape !== undefined;
}

/** Whether somebody wants the gradient of one of these: if not, an op keeps nothing for it. */
export function isTracked(...inputs: readonly Tensor[]): boolean {
  if (!tape) return false;
  const { tracked } = tape;
  return inputs.some((input) => tracked.has(input));
}

/**
 * Ends every operation: notes how to go back from `output`, when somebody wants gradients of an
 * input. Returns `output`.
 */
export function record(output: Tensor, inputs: readonly Tensor[], vjp: Vjp): Tensor {
  if (tape && isTracked(...inputs)) {
    tape.tracked.add(output);
    tape.entries.push({ output, inputs, vjp });
  }
  return output;
}

/** Runs `body` with recording off: constants of a loss, measurements beside a step. */
export function noGrad<T>(body: () => T): T {
  return withTape(undefined, body);
}

/**
 * `valueAndGrad(loss)(params, ...rest)` gives the scalar loss and its gradient for every leaf of
 * `params`, a tree of the same form (zeros where the loss does not depend on a leaf). Reverse mode
 * over the recorded tape (Linnainmaa 1970); everything else made on the way is disposed.
 * @throws ShapeError when the loss is not a scalar
 * @throws DTypeError when a leaf of `params` is not f32
 * @throws UsageError inside another `valueAndGrad`: there are no second derivatives
 */
export function valueAndGrad<P extends Tree, Rest extends unknown[]>(
  loss: (params: P, ...rest: Rest) => Tensor,
): (params: P, ...rest: Rest) => { value: Tensor; grads: P } {
  return (params, ...rest) => {
    if (tape) {
      throw new UsageError(
        'valueAndGrad: inside another one; wrap it in noGrad to use its result as a constant',
      );
    }
    const wanted = leaves(params);
    for (const leaf of wanted) {
      if (leaf.dtype !== 'f32') {
        throw new DTypeError(
          `valueAndGrad: parameter ${formatShape(leaf.shape)} is ${leaf.dtype}, not f32`,
        );
      }
    }
    return scope(() => {
      const own: Tape = { tracked: new Set(wanted), entries: [] };
      const value = withTape(own, () => loss(params, ...rest));
      if (value.numel !== 1) {
        throw new ShapeError(`valueAndGrad: loss has shape ${formatShape(value.shape)}`);
      }
      const found = backward(own, value, new Set(wanted));
      // Aliases, so that a leaf that stands in the tree twice gets two tensors.
      const grads = mapTree(params, (leaf) => {
        const grad = found.get(leaf);
        return grad ? grad.aliasAs(leaf.shape) : zeros(leaf.shape, leaf.backend);
      });
      return { value, grads };
    });
  };
}

/**
 * Walks the tape backwards; an input used twice gets the sum of its gradients. Every gradient in
 * the map is a tensor of its own (an alias where a vjp passes one through), so those between
 * operations are freed as soon as they were used.
 */
function backward(
  tape: Tape,
  value: Tensor,
  wanted: ReadonlySet<Tensor>,
): ReadonlyMap<Tensor, Tensor> {
  const grads = new Map<Tensor, Tensor>([[value, ones(value.shape, value.backend)]]);
  for (let i = tape.entries.length - 1; i >= 0; i--) {
    const { output, inputs, vjp } = tape.entries[i];
    const dOut = grads.get(output);
    if (!dOut) continue;
    const dInputs = scope(() =>
      vjp(dOut).map((dInput, j) =>
        dInput && tape.tracked.has(inputs[j]) ? dInput.aliasAs(inputs[j].shape) : null,
      ),
    );
    dInputs.forEach((dInput, j) => {
      if (!dInput) return;
      const before = grads.get(inputs[j]);
      grads.set(inputs[j], before ? accumulate(before, dInput) : dInput);
    });
    if (!wanted.has(output)) {
      grads.delete(output);
      dOut.dispose();
    }
  }
  return grads;
}

/** a + b; both are given back. */
function accumulate(a: Tensor, b: Tensor): Tensor {
  const out = Tensor.empty(a.shape, 'f32', a.backend);
  const n = out.numel;
  out.backend.kernels.add(out.handle, a.handle, b.handle, 1, 1, 1, n, 0, 0, 0, 1, 0, 0, 0, 1);
  a.dispose();
  b.dispose();
  return out;
}
