import { type AdamWState, exportParams, type NamedValues } from '../model/index.ts';
import {
  type Backend,
  disposeTree,
  FormatError,
  formatShape,
  keep,
  mapTree,
  type Tree,
  tensor,
} from '../tensor/index.ts';
import type { TrainedModel } from './training-job.ts';

/** Where the training of one model stands between two steps, its tensors alive. */
export interface FitCursor {
  /** The training on all rows after the epoch was chosen. */
  readonly again: boolean;
  /** The epoch under way, from 1. */
  readonly epoch: number;
  /** Steps made in it. */
  readonly batch: number;
  /** Sum of its rows' losses so far. */
  readonly lossSum: number;
  readonly params: Tree;
  readonly state: AdamWState<Tree>;
}

/** The same as plain numbers. */
export interface FitSnapshot extends Omit<FitCursor, 'params' | 'state'> {
  /** AdamW's steps. */
  readonly step: number;
  /** Parameters and both moments, by path. */
  readonly params: ReadonlyMap<string, NamedValues>;
  readonly m: ReadonlyMap<string, NamedValues>;
  readonly v: ReadonlyMap<string, NamedValues>;
}

/**
 * All that the steps to come depend on, beside the rows. The order of rows depends on the seed
 * alone, and statistics on the rows, so neither stands here.
 */
export interface TrainerSnapshot {
  /** Models whose training is over. */
  readonly trained: readonly TrainedModel[];
  /** Epochs that may be chosen, of the model under way. */
  readonly candidates: readonly TrainedModel[];
  /** The model under way; undefined where its first step is still to come. */
  readonly fit: FitSnapshot | undefined;
}

/** Reads a cursor's tensors, bit for bit. */
export function exportFit({ params, state, ...where }: FitCursor): FitSnapshot {
  return {
    ...where,
    step: state.step,
    params: exportParams(params),
    m: exportParams(state.m),
    v: exportParams(state.v),
  };
}

/**
 * Tensors of a snapshot, of the form that `fresh` has, which is disposed.
 * @throws FormatError (E_STATE) where one is missing or of another shape
 */
export function importFit(
  snapshot: FitSnapshot,
  fresh: Tree,
  backend: Backend,
): Pick<FitCursor, 'params' | 'state'> {
  const tensors = (values: ReadonlyMap<string, NamedValues>) =>
    mapTree(fresh, (leaf, path) => {
      const found = values.get(path);
      if (!found || formatShape(found.shape) !== formatShape(leaf.shape)) {
        throw new FormatError(
          `read job: ${path} is ${found ? formatShape(found.shape) : 'missing'}, ${formatShape(leaf.shape)} is wanted; it was saved by another release`,
          'E_STATE',
        );
      }
      return keep(tensor(found.values, leaf.shape, { backend }));
    });
  try {
    const { step, params, m, v } = snapshot;
    return { params: tensors(params), state: { step, m: tensors(m), v: tensors(v) } };
  } finally {
    disposeTree(fresh);
  }
}
