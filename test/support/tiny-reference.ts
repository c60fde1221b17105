import assert from 'node:assert/strict';
import type { Backbone } from '../../src/model/index.ts';
import { scope } from '../../src/tensor/index.ts';
import { unpackF32 } from './smollm2.ts';
import type { TinyReference } from './tiny-models.ts';

/**
 * Largest error of an element over the largest value beside it: sums of 32 to 64 products in
 * another order, over two layers. 8e-7 was measured.
 */
const CLOSE = 1e-5;

/** What a model makes of sequences: rows after 0..L layers, and a decoder's logits. */
export interface TinyRun {
  readonly hidden: Float32Array[];
  readonly logits?: Float32Array;
}

/** All sequences of a reference in one batch. */
export function runTiny(model: Backbone, sequences: TinyReference['sequences'] = []): TinyRun {
  const hidden: Float32Array[] = [];
  const types = sequences.flatMap(({ tokenTypes }) => tokenTypes ?? []);
  const logits = scope(() => {
    const batch = {
      ids: Int32Array.from(sequences.flatMap(({ ids }) => ids)),
      lengths: sequences.map(({ ids }) => ids.length),
      ...(types.length > 0 && { tokenTypes: Int32Array.from(types) }),
    };
    const last = model.forward(batch, (_, state) => hidden.push(state.toFloat32()));
    return model.family === 'decoder' ? model.logits(last).toFloat32() : undefined;
  });
  return { hidden, logits };
}

/** What transformers made of the same batch. */
export function expectedOf(sequences: TinyReference['sequences'] = []): TinyRun {
  const joined = (parts: (string | undefined)[]) =>
    Float32Array.from(parts.flatMap((part) => [...unpackF32(part ?? '')]));
  return {
    hidden: sequences[0].hidden.map((_, layer) =>
      joined(sequences.map(({ hidden }) => hidden[layer])),
    ),
    ...(sequences[0].logits && { logits: joined(sequences.map(({ logits }) => logits)) }),
  };
}

/** @throws AssertionError unless all values are those expected. @returns the worst error */
export function assertCloseRows(
  actual: Float32Array,
  expected: Float32Array,
  what: string,
): number {
  assert.equal(actual.length, expected.length, what);
  const largest = expected.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  let worst = 0;
  actual.forEach((x, i) => {
    const error = Math.abs(x - expected[i]) / largest;
    assert.ok(error <= CLOSE, `${what}, ${i}: ${x}, expected ${expected[i]}`);
    worst = Math.max(worst, error);
  });
  return worst;
}

/** The same of hidden states and logits. */
export function assertCloseRun(actual: TinyRun, expected: TinyRun): number {
  assert.equal(actual.hidden.length, expected.hidden.length);
  const worst = actual.hidden.map((rows, layer) =>
    assertCloseRows(rows, expected.hidden[layer], `layer ${layer}`),
  );
  if (actual.logits || expected.logits) {
    const none = new Float32Array();
    worst.push(assertCloseRows(actual.logits ?? none, expected.logits ?? none, 'logits'));
  }
  return Math.max(...worst);
}
