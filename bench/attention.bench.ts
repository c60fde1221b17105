// Causal attention with grouped queries over packed sequences, and its gradient.
import { attention, keep, sum, tensor, valueAndGrad } from '../src/tensor/index.ts';
import type { BenchCase } from './harness.ts';
import { onBackends, type TensorCase } from './tensor-case.ts';

/** SmolLM2-135M's heads. */
const [HEADS, KV_HEADS, DIM] = [9, 3, 64];

/** softmax(q k^T / sqrt(d)) v of token `t`, head `h`, within a sequence that begins at `start`. */
function attended(
  [q, k, v]: readonly ArrayLike<number>[],
  t: number,
  h: number,
  start: number,
): number[] {
  const group = Math.floor(h / (HEADS / KV_HEADS));
  const at = (rows: number, heads: number, head: number) => (rows * heads + head) * DIM;
  const weights: number[] = [];
  for (let s = start; s <= t; s++) {
    let dot = 0;
    for (let i = 0; i < DIM; i++) {
      dot += q[at(t, HEADS, h) + i] * k[at(s, KV_HEADS, group) + i];
    }
    weights.push(Math.exp(dot / Math.sqrt(DIM)));
  }
  const total = weights.reduce((a, b) => a + b);
  return Array.from({ length: DIM }, (_, i) =>
    weights.reduce((x, w, s) => x + (w / total) * v[at(start + s, KV_HEADS, group) + i], 0),
  );
}

/** Sequences end to end, of one length. */
function sequences(count: number, length: number): TensorCase {
  const tokens = count * length;
  return {
    family: 'attention',
    shape: `${count}x${length}x${HEADS}x${DIM}`,
    // Two products of length d for each token and each it sees.
    ops: 4 * HEADS * DIM * count * ((length * (length + 1)) / 2),
    // Queries and output, keys and values.
    bytes: 4 * 2 * tokens * (HEADS + KV_HEADS) * DIM,
    heavy: tokens > 512,
    operands: (make, backend) => [
      make([tokens, HEADS, DIM], 1),
      make([tokens, KV_HEADS, DIM], 2),
      make([tokens, KV_HEADS, DIM], 3),
      keep(
        tensor(
          Int32Array.from({ length: 2 * count }, (_, i) => (i % 2 ? length : (i / 2) * length)),
          [count, 2],
          { backend },
        ),
      ),
    ],
    run: ([q, k, v, segments]) => attention(q, k, v, { segments, causal: true }),
    *expected(operands) {
      for (const t of new Set([0, length - 1, tokens - 1])) {
        const values = attended(operands, t, HEADS - 1, t - (t % length));
        for (const [i, value] of values.entries()) {
          yield [(t * HEADS + HEADS - 1) * DIM + i, value];
        }
      }
    },
  };
}

/** One token behind `past` others whose keys and values are held, as each step of decoding asks. */
function decoding(past: number): TensorCase {
  return {
    family: 'attention-kv',
    shape: `1+${past}x${HEADS}x${DIM}`,
    ops: 4 * HEADS * DIM * (past + 1),
    // Keys and values are what there is to read.
    bytes: 4 * (2 * HEADS + 2 * KV_HEADS * (past + 1)) * DIM,
    operands: (make, backend) => [
      ...[make([1, HEADS, DIM], 1), make([1, KV_HEADS, DIM], 2), make([1, KV_HEADS, DIM], 3)],
      ...[make([past, KV_HEADS, DIM], 4), make([past, KV_HEADS, DIM], 5)],
      keep(tensor(Int32Array.of(0, 1), [1, 2], { backend })),
    ],
    run: ([q, k, v, kPast, vPast, segments]) =>
      attention(q, k, v, { segments, causal: true, past: { k: kPast, v: vPast, length: past } }),
    *expected([q, k, v, kPast, vPast]) {
      const behind = (before: ArrayLike<number>, own: ArrayLike<number>) => [
        ...Array.from(before),
        ...Array.from(own),
      ];
      // The query is the last row of a sequence whose other queries nobody looks at.
      const queries = [...new Array<number>(past * HEADS * DIM).fill(0), ...Array.from(q)];
      for (const h of [0, HEADS - 1]) {
        const values = attended([queries, behind(kPast, k), behind(vPast, v)], past, h, 0);
        for (const [i, value] of values.entries()) yield [h * DIM + i, value];
      }
    },
  };
}

/** d sum(attention) / dv: each value's gradient is the attention that it gets, over all tokens. */
function gradient(length: number): TensorCase {
  const forward = sequences(1, length);
  const { run } = forward;
  return {
    ...forward,
    family: 'attention-grad',
    // Scores again, and four products: dv, the weights' gradient, dq and dk.
    ops: 2.5 * forward.ops,
    run: ([q, k, v, segments]) =>
      valueAndGrad((tree: { v: typeof v; q: typeof q; k: typeof k }) =>
        sum(run([tree.q, tree.k, tree.v, segments])),
      )({ v, q, k }).grads.v,
    *expected([q, k]) {
      const ones = new Float32Array(length * KV_HEADS * DIM);
      // With values that are 1 for one token alone, the output is the attention it gets.
      for (const token of new Set([0, length - 1])) {
        ones.fill(0);
        ones.fill(1, token * KV_HEADS * DIM, (token + 1) * KV_HEADS * DIM);
        let got = 0;
        for (let t = token; t < length; t++) {
          for (let h = 0; h < HEADS / KV_HEADS; h++) got += attended([q, k, ones], t, h, 0)[0];
        }
        yield [token * KV_HEADS * DIM, got];
      }
    },
  };
}

/** A long sequence, a batch of short ones, a token at a time, and the gradient that only the side network needs. */
export function* cases(): Generator<BenchCase> {
  for (const [count, length] of [
    [1, 128],
    [16, 32],
    [1, 512],
    [4, 512],
  ]) {
    yield* onBackends(sequences(count, length));
  }
  for (const past of [64, 511]) yield* onBackends(decoding(past));
  yield* onBackends(gradient(128));
}
