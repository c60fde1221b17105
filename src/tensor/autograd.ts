import { ShapeError } from './errors.ts';
import { scope } from './scope.ts';
import { formatShape } from './shape.ts';
import { ones, Tensor, zeros } from './tensor.ts';
import { leaves, mapTree, type Tree } from './tree.ts';

/** Gradients of the inputs, in their order, from the gradient of the output; null: none flows. */
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

/** Whether an operation run now would be recorded; the frozen backbone asserts it is not. */
export function isRecording(): boolean {
  return tape !== undefined;
}

/**
 * Ends every operation: notes how to go back from `output`, when somebody wants gradients of an
 * input. Returns `output`.
 */
export function record(output: Tensor, inputs: readonly Tensor[], vjp: Vjp): Tensor {
  if (tape && inputs.some((input) => tape?.tracked.has(input))) {
    tape.tracked.add(output);
    tape.entries.push({ output, inputs, vjp });
  }
  return output;
}

/** Runs `body` with recording off: constants of a loss, measurements beside a step. */
export function noGrad<T>(body: () => T): T {
  const outer = tape;
  tape = undefined;
  try {
    return body();
  } finally {
    tape = outer;
  }
}

/**
 * `valueAndGrad(loss)(params, ...rest)` gives the scalar loss and its gradient for every f32 leaf
 * of `params`, a tree of the same form (zeros where the loss does not depend on a leaf).
 * Reverse mode over the recorded tape; everything else made on the way is disposed.
 * @throws ShapeError when the loss is not a scalar
 */
export function valueAndGrad<P extends Tree, Rest extends unknown[]>(
  loss: (params: P, ...rest: Rest) => Tensor,
): (params: P, ...rest: Rest) => { value: Tensor; grads: P } {
  return (params, ...rest) =>
    scope(() => {
      const outer = tape;
      const own: Tape = { tracked: new Set(leaves(params)), entries: [] };
      tape = own;
      let value: Tensor;
      try {
        value = loss(params, ...rest);
      } finally {
        tape = outer;
      }
      if (value.numel !== 1) {
        throw new ShapeError(`valueAndGrad: loss has shape ${formatShape(value.shape)}`);
      }
      const found = backward(own, value);
      const grads = mapTree(params, (leaf) => found.get(leaf) ?? zeros(leaf.shape, leaf.backend));
      return { value, grads };
    });
}

/** Walks the tape backwards; an input used twice gets the sum of its gradients. */
function backward(tape: Tape, value: Tensor): Map<Tensor, Tensor> {
  const grads = new Map<Tensor, Tensor>([[value, ones(value.shape, value.backend)]]);
  for (let i = tape.entries.length - 1; i >= 0; i--) {
    const { output, inputs, vjp } = tape.entries[i];
    const dOut = grads.get(output);
    if (!dOut) continue;
    const dInputs = vjp(dOut);
    inputs.forEach((input, j) => {
      const dInput = dInputs[j];
      if (!dInput || !tape.tracked.has(input)) return;
      const sofar = grads.get(input);
      grads.set(input, sofar ? accumulate(sofar, dInput) : dInput);
    });
  }
  return grads;
}

function accumulate(a: Tensor, b: Tensor): Tensor {
  const out = Tensor.empty(a.shape, 'f32', a.backend);
  const n = out.numel;
  out.backend.kernels.add(out.handle, a.handle, b.handle, 1, 1, 1, n, 0, 0, 0, 1, 0, 0, 0, 1);
  return out;
}
