// Not by barrels: a browser loads this file without a bundler.
import { type Backend, leaves, mapTree, type Tree, tensor } from '../tensor/index.ts';
import type { FitValues } from './step-engine.ts';

/** Parameters and both moments of a model as trees of tensors. */
export interface FitTrees {
  /** Steps made. */
  readonly step: number;
  readonly params: Tree;
  readonly m: Tree;
  readonly v: Tree;
}

/** The numbers of a tree, a list in the order of `leaves`. */
export function valuesOfTree(tree: Tree): Float32Array[] {
  return leaves(tree).map((leaf) => leaf.toFloat32());
}

/** The tree of a form with these numbers: what `valuesOfTree` gave, on another backend. */
export function treeOfValues<T extends Tree>(
  form: T,
  values: readonly Float32Array[],
  backend: Backend,
): T {
  let i = 0;
  return mapTree(form, (leaf) => tensor(values[i++], leaf.shape, { backend }));
}

/** A fit as plain numbers. */
export function valuesOfFit({ step, params, m, v }: FitTrees): FitValues {
  return { step, params: valuesOfTree(params), m: valuesOfTree(m), v: valuesOfTree(v) };
}

/** A fit of plain numbers as trees of a form, all of them the caller's. */
export function fitOfValues(form: Tree, values: FitValues, backend: Backend): FitTrees {
  const [params, m, v] = [values.params, values.m, values.v].map((list) =>
    treeOfValues(form, list, backend),
  );
  return { step: values.step, params, m, v };
}
