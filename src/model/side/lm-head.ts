import { decodeActivations, encodedLength, encodeRows } from '../../quant/index.ts';
import {
  add,
  affine,
  type Backend,
  concat,
  crossEntropy,
  FormatError,
  isTracked,
  keep,
  matmul,
  mul,
  noGrad,
  record,
  scope,
  slice,
  stack,
  sum,
  Tensor,
  type Tree,
  tensor,
  valueAndGrad,
} from '../../tensor/index.ts';
import { embedding } from '../nn/embedding.ts';
import { type FinalNorm, finalNorm, type OutputHead } from '../nn/output-head.ts';
import { HEAD_PIECE_ROWS, LOSS_ROWS } from './lm-parts.ts';

/** "MBLH" read as a little-endian u32. */
const MAGIC = 0x484c424d;

/** Magic, kind of norm, V, D, eps as f64. */
const HEADER_BYTES = 4 + 4 + 4 + 4 + 8;

/** Bits of a weight of the matrix as it travels: groups of 64 with an f16 scale. */
const BITS = 8;

/** A frozen model's final norm and output matrix on a backend, in f32. */
export interface LmHead {
  readonly norm: FinalNorm;
  /** `[V, D]` in pieces `[v, D]`: a backend's largest tensor may be smaller than the whole. */
  readonly matrix: readonly Tensor[];
}

/** The same with its matrix in 8 bits, which is decoded piece by piece whenever it is used. */
export interface CodedLmHead {
  readonly norm: FinalNorm;
  /** V rows of the activation codec. */
  readonly coded: Uint8Array;
  readonly vocab: number;
}

/**
 * The bytes of a model's final norm and output matrix, as a server needs them to train on next
 * tokens: header, norm in f32, the matrix in 8 bits in the activation codec's rows. A function of
 * the weights alone, so that its hash names it.
 */
export function encodeLmHead({ norm, matrix }: OutputHead, backend: Backend): Uint8Array {
  const [vocab, width] =
    matrix instanceof Tensor ? matrix.shape : [matrix.outFeatures, matrix.inFeatures];
  const vectors = [norm.weight, ...(norm.bias ? [norm.bias] : [])];
  const rowBytes = encodedLength(1, width, BITS);
  const start = HEADER_BYTES + 4 * width * vectors.length;
  const out = new Uint8Array(start + vocab * rowBytes);
  const view = new DataView(out.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, norm.kind === 'rms' ? 0 : 1, true);
  view.setUint32(8, vocab, true);
  view.setUint32(12, width, true);
  view.setFloat64(16, norm.eps, true);
  vectors.forEach((vector, v) => {
    const values = vector.toFloat32();
    for (let i = 0; i < width; i++) {
      view.setFloat32(HEADER_BYTES + 4 * (v * width + i), values[i], true);
    }
  });
  for (let from = 0; from < vocab; from += HEAD_PIECE_ROWS) {
    const count = Math.min(HEAD_PIECE_ROWS, vocab - from);
    const ids = Int32Array.from({ length: count }, (_, i) => from + i);
    const rows = scope(() =>
      encodeRows(
        noGrad(() => embedding(matrix, ids, backend)),
        BITS,
      ),
    );
    out.set(rows, start + from * rowBytes);
  }
  return out;
}

/**
 * Puts such bytes onto a backend; the caller disposes it by `disposeTree`.
 * @throws FormatError (E_LM_HEAD) for bytes that are none, or of another width or vocabulary
 */
export function decodeLmHead(
  bytes: Uint8Array,
  expected: { readonly vocab: number; readonly width: number },
  backend: Backend,
): LmHead {
  const { norm, ...matrix } = openLmHead(bytes, expected, backend);
  return { norm, matrix: codedPieces(matrix, expected.width, backend, (rows) => keep(rows)) };
}

/**
 * Such bytes as a head whose matrix stays in 8 bits: a quarter of the memory, the same numbers. The
 * caller disposes its norm by `disposeTree`.
 * @throws as `decodeLmHead`
 */
export function openLmHead(
  bytes: Uint8Array,
  expected: { readonly vocab: number; readonly width: number },
  backend: Backend,
): CodedLmHead {
  const fail = (why: string) => new FormatError(`output head: ${why}`, 'E_LM_HEAD');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) {
    throw fail('these bytes are none');
  }
  const [kind, vocab, width] = [4, 8, 12].map((at) => view.getUint32(at, true));
  const eps = view.getFloat64(16, true);
  if (kind > 1 || !(eps >= 0 && eps < 1)) throw fail('its norm is unknown');
  if (vocab !== expected.vocab || width !== expected.width) {
    throw fail(
      `${vocab} tokens of width ${width}, the job has ${expected.vocab} of ${expected.width}`,
    );
  }
  const rowBytes = encodedLength(1, width, BITS);
  const start = HEADER_BYTES + 4 * width * (kind + 1);
  if (bytes.length !== start + vocab * rowBytes) {
    throw fail(`${bytes.length} bytes, ${start + vocab * rowBytes} are needed`);
  }
  const vector = (v: number) =>
    tensor(
      Float32Array.from({ length: width }, (_, i) =>
        view.getFloat32(HEADER_BYTES + 4 * (v * width + i), true),
      ),
      [width],
      { backend },
    );
  const norm: FinalNorm =
    kind === 0
      ? { kind: 'rms', eps, weight: vector(0) }
      : { kind: 'layer', eps, weight: vector(0), bias: vector(1) };
  return keep({ norm, coded: bytes.subarray(start), vocab });
}

/** What `use` makes of each piece `[v, D]` of a coded matrix; it frees the piece. */
function codedPieces<T>(
  { coded, vocab }: Pick<CodedLmHead, 'coded' | 'vocab'>,
  width: number,
  backend: Backend,
  use: (rows: Tensor, from: number) => T,
): T[] {
  const rowBytes = encodedLength(1, width, BITS);
  const out: T[] = [];
  // One for all pieces: as many arrays as pieces would be garbage of the size of the whole.
  const buffer = new Float32Array(Math.min(HEAD_PIECE_ROWS, vocab) * width);
  for (let from = 0; from < vocab; from += HEAD_PIECE_ROWS) {
    const count = Math.min(HEAD_PIECE_ROWS, vocab - from);
    const piece = coded.subarray(from * rowBytes, (from + count) * rowBytes);
    const values = decodeActivations(piece, count, width, BITS, buffer.subarray(0, count * width));
    out.push(use(tensor(values, [count, width], { backend }), from));
  }
  return out;
}

/** What `use` makes of each piece `[v, D]` of a head's matrix, from row `from` of it on. */
function eachPiece<T extends Tree>(
  head: LmHead | CodedLmHead,
  use: (rows: Tensor, from: number) => T,
): T[] {
  const { weight } = head.norm;
  if ('matrix' in head) return head.matrix.map((rows, i) => use(rows, i * HEAD_PIECE_ROWS));
  return codedPieces(head, weight.numel, weight.backend, (rows, from) => {
    const made = use(rows, from);
    rows.dispose();
    return made;
  });
}

/** What `body` makes of each piece of so many rows. */
function inPieces<T>(rows: number, body: (from: number, to: number) => T): T[] {
  const out: T[] = [];
  for (let from = 0; from < rows; from += LOSS_ROWS) {
    out.push(body(from, Math.min(rows, from + LOSS_ROWS)));
  }
  return out;
}

/** Next tokens as targets i32 of a loss. */
function targetsOf(ids: ArrayLike<number>, from: number, to: number, backend: Backend): Tensor {
  const values = Int32Array.from({ length: to - from }, (_, i) => ids[from + i]);
  return tensor(values, [to - from], { backend });
}

/** Normed rows `[r, D]` to logits `[r, V]`. */
function logitsOfNormed(head: LmHead | CodedLmHead, x: Tensor): Tensor {
  return scope(() =>
    concat(
      eachPiece(head, (rows) => matmul(x, rows, { transB: true })),
      1,
    ),
  );
}

/** `dLogits [r, V]` back through the matrix: the gradient of normed rows, `[r, D]`. */
function backThrough(head: LmHead | CodedLmHead, dLogits: Tensor): Tensor {
  return scope(() => {
    let sum: Tensor | undefined;
    eachPiece(head, (rows, from) => {
      const before = sum;
      sum = scope(() => {
        const part = matmul(slice(dLogits, 1, from, from + rows.shape[0]), rows);
        return before ? add(before, part) : part;
      });
      before?.dispose();
      return [];
    });
    return sum as Tensor;
  });
}

/**
 * Cross-entropy of hidden states `[R, D]` against the next tokens i32 `[R]`, through the frozen
 * head: the mean over rows, shape `[]`. A few rows at a time, each with its gradient, so that
 * logits `[R, V]` never exist as a whole: as the fused losses of Liger Kernel (arXiv 2410.10989).
 * A coded head gives the same numbers, bit for bit.
 */
export function lmLoss(
  head: LmHead | CodedLmHead,
  hidden: Tensor,
  targets: Tensor,
  labelSmoothing = 0,
): Tensor {
  const x = finalNorm(head.norm, hidden);
  const { backend } = x;
  const rows = x.shape[0];
  const wanted = isTracked(x);
  const ids = targets.toArray();
  const { loss, dX } = noGrad(() =>
    scope(() => {
      const pieces = inPieces(rows, (from, to) => {
        const lossOf = (logits: Tensor) =>
          crossEntropy(logits, targetsOf(ids, from, to, backend), {
            reduction: 'sum',
            labelSmoothing,
          });
        return scope(() => {
          const logits = logitsOfNormed(head, slice(x, 0, from, to));
          if (!wanted) return { value: lossOf(logits), grads: undefined };
          const { value, grads } = valueAndGrad(lossOf)(logits);
          return { value, grads: backThrough(head, grads) };
        });
      });
      const mean = affine(sum(stack(pieces.map(({ value }) => value))), 1 / rows);
      const grads = pieces.flatMap(({ grads }) => grads ?? []);
      return { loss: mean, dX: wanted ? affine(concat(grads, 0), 1 / rows) : undefined };
    }),
  );
  return dX ? record(loss, [x], (dy) => [mul(dX, dy)]) : loss;
}

/**
 * Cross-entropy of every row of hidden states `[R, D]` against its next token, a few rows' logits
 * at a time.
 * @param logitsOf `[r, D]` to `[r, V]`
 */
export function tokenLosses(
  hidden: Tensor,
  ids: ArrayLike<number>,
  logitsOf: (hidden: Tensor) => Tensor,
): number[] {
  return noGrad(() =>
    inPieces(hidden.shape[0], (from, to) =>
      scope(() => {
        const targets = targetsOf(ids, from, to, hidden.backend);
        const logits = logitsOf(slice(hidden, 0, from, to));
        return Array.from(crossEntropy(logits, targets, { reduction: 'none' }).toArray());
      }),
    ).flat(),
  );
}

/** Logits of a head's rows `[r, D]`: what `tokenLosses` takes. */
export function lmLogits(head: LmHead | CodedLmHead): (hidden: Tensor) => Tensor {
  return (hidden) => scope(() => logitsOfNormed(head, finalNorm(head.norm, hidden)));
}
