import { isTracked, noGrad, record } from '../autograd.ts';
import { ShapeError } from '../errors.ts';
import { scope } from '../scope.ts';
import { formatShape, numelOf, type Shape } from '../shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor.ts';
import { binary, expectRank, reduceTo } from './launch.ts';
import { concat, slice } from './layout.ts';

/** Which operands are stored transposed in their last two axes. */
export interface MatmulOptions {
  readonly transA?: boolean;
  readonly transB?: boolean;
}

interface Plan {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly shape: Shape;
}

function plan(a: Tensor, b: Tensor, transA: boolean, transB: boolean): Plan {
  if (![2, 3].includes(a.rank) || ![2, 3].includes(b.rank)) {
    throw new ShapeError(
      `matmul: takes rank 2 or 3, lhs ${formatShape(a.shape)}, rhs ${formatShape(b.shape)}`,
    );
  }
  const [m, k] = transA ? [a.shape.at(-1), a.shape.at(-2)] : [a.shape.at(-2), a.shape.at(-1)];
  const [n, kb] = transB ? [b.shape.at(-2), b.shape.at(-1)] : [b.shape.at(-1), b.shape.at(-2)];
  if (k !== kb) {
    throw new ShapeError(
      `matmul: inner dimensions differ, lhs ${describe(a, transA)}, rhs ${describe(b, transB)}`,
    );
  }
  const batchA = a.rank === 3 ? a.shape[0] : 1;
  const batchB = b.rank === 3 ? b.shape[0] : 1;
  if (batchA !== batchB && batchA !== 1 && batchB !== 1) {
    throw new ShapeError(
      `matmul: batches differ, lhs ${describe(a, transA)}, rhs ${describe(b, transB)}`,
    );
  }
  const batch = batchA === 1 ? batchB : batchA;
  const [rows, columns, inner] = [m as number, n as number, k as number];
  const lead = a.rank === 3 || b.rank === 3 ? [batch] : [];
  return { batch, m: rows, n: columns, k: inner, shape: [...lead, rows, columns] };
}

function describe(x: Tensor, transposed: boolean): string {
  return formatShape(x.shape) + (transposed ? ' transposed' : '');
}

/** The product itself; records nothing. */
function product(a: Tensor, b: Tensor, transA: boolean, transB: boolean): Tensor {
  const { batch, m, n, k, shape } = plan(a, b, transA, transB);
  const out = Tensor.empty(shape, 'f32', a.backend);
  // An operand with one matrix is read again for every batch entry.
  const strideA = a.numel === m * k ? 0 : m * k;
  const strideB = b.numel === k * n ? 0 : k * n;
  const { matmul: kernel } = a.backend.kernels;
  if (strideB === 0 && !transA && strideA !== 0) {
    // [B,M,K] x [K,N]: one tall product instead of B small ones.
    kernel(out.handle, a.handle, b.handle, 1, batch * m, n, k, 0, +transB, 0, 0);
  } else {
    kernel(out.handle, a.handle, b.handle, batch, m, n, k, +transA, +transB, strideA, strideB);
  }
  return out;
}

/** `[B,M,N]` as `[B*M,N]`; aliases. */
function flat(x: Tensor): Tensor {
  return x.aliasAs([numelOf(x.shape.slice(0, -1)), x.shape.at(-1) as number]);
}

/**
 * Matrix product: `[M,K] x [K,N]`, with `transA` a stored `[K,M]`, with `transB` b stored `[N,K]`;
 * either may have a leading batch axis, and one of batch 1 or none is used for every entry.
 * @throws ShapeError when inner dimensions or batches differ
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  expectDType('matmul', 'f32', a, b);
  commonBackend('matmul', a, b);
  const transA = options.transA ?? false;
  const transB = options.transB ?? false;
  const out = product(a, b, transA, transB);
  // C = A B gives dA = dC B^T and dB = A^T dC; a transposed operand gets the transpose of that,
  // (X Y)^T = Y^T X^T, so flags say it all and nothing is ever copied into another order.
  // Of a frozen matrix nobody wants a gradient, which would cost as much as the product itself.
  const [wantsA, wantsB] = [isTracked(a), isTracked(b)];
  return record(out, [a, b], (dOut) => {
    const dA = () => {
      const full = transA ? product(b, dOut, transB, true) : product(dOut, b, false, !transB);
      return reduceTo('matmul', full, a.shape);
    };
    const dB = () => {
      if (a.rank === 3 && !transA && (b.rank === 2 || b.shape[0] === 1)) {
        // A weight under a batch: the sum over the batch is part of one product.
        const [x, y] = transB ? [dOut, a] : [a, dOut];
        return product(flat(x), flat(y), true, false).aliasAs(b.shape);
      }
      const full = transB ? product(dOut, a, true, transA) : product(a, dOut, !transA, false);
      return reduceTo('matmul', full, b.shape);
    };
    return [wantsA ? dA() : null, wantsB ? dB() : null];
  });
}

/**
 * `concat(xs, 1) w^T` without joining anything: operands `[M,K_i]`, w `[N, sum of K_i]`. Wide
 * operands stay where they are; of w, which is small where N is, columns are copied.
 * @throws ShapeError when there is no operand, rows differ, or widths do not add up to w's
 */
export function concatMatmul(xs: readonly Tensor[], w: Tensor): Tensor {
  if (xs.length === 0) throw new ShapeError('concatMatmul: nothing to multiply');
  expectDType('concatMatmul', 'f32', w, ...xs);
  commonBackend('concatMatmul', w, ...xs);
  for (const x of [w, ...xs]) expectRank('concatMatmul', x, 2, 'every operand');
  const ends: number[] = [];
  for (const x of xs) ends.push((ends.at(-1) ?? 0) + x.shape[1]);
  if (ends.at(-1) !== w.shape[1] || xs.some((x) => x.shape[0] !== xs[0].shape[0])) {
    const shapes = xs.map((x) => formatShape(x.shape)).join(', ');
    throw new ShapeError(`concatMatmul: ${shapes} do not fit ${formatShape(w.shape)} transposed`);
  }
  const columns = (i: number) => slice(w, 1, ends[i] - xs[i].shape[1], ends[i]);
  const out = noGrad(() =>
    scope(() => {
      let sum = product(xs[0], columns(0), false, true);
      for (let i = 1; i < xs.length; i++) {
        const next = binary('add', sum, product(xs[i], columns(i), false, true));
        sum.dispose();
        sum = next;
      }
      return sum;
    }),
  );
  const wants = xs.map((x) => isTracked(x));
  const wantsW = isTracked(w);
  return record(out, [...xs, w], (dOut) => [
    ...xs.map((_, i) => (wants[i] ? product(dOut, columns(i), false, false) : null)),
    wantsW
      ? concat(
          xs.map((x) => product(dOut, x, true, false)),
          1,
        )
      : null,
  ]);
}
