import { record } from '../autograd.ts';
import { ShapeError } from '../errors.ts';
import { formatShape, sameShape } from '../shape.ts';
import { commonBackend, expectDType, Tensor } from '../tensor.ts';
import { expectIndices, expectRank } from './launch.ts';

/**
 * Rotary position embedding, half-split layout: turns the pair (j, j + headDim/2) of every head by
 * the angle of its row's position (Su et al. 2021, equation 34). x `[T, H, headDim]`; cos, sin
 * `[positions, headDim/2]`, constants; positions i32 `[T]`.
 * @throws ShapeError when the tables do not fit, or a position is outside them
 */
export function rope(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor): Tensor {
  expectDType('rope', 'f32', x, cos, sin);
  const { kernels } = commonBackend('rope', x, cos, sin, positions);
  expectRank('rope', x, 3, 'x');
  expectRank('rope', cos, 2, 'cos');
  const [rows, heads, headDim] = x.shape;
  if (!sameShape(cos.shape, sin.shape) || cos.shape[1] * 2 !== headDim) {
    throw new ShapeError(
      `rope: x ${formatShape(x.shape)}, cos ${formatShape(cos.shape)}, sin ${formatShape(sin.shape)}`,
    );
  }
  if (positions.rank !== 1 || positions.numel !== rows) {
    throw new ShapeError(
      `rope: x ${formatShape(x.shape)}, positions ${formatShape(positions.shape)}`,
    );
  }
  expectIndices('rope', positions, cos.shape[0], 'position');
  const turned = (input: Tensor, sign: number) => {
    const out = Tensor.empty(x.shape, 'f32', x.backend);
    kernels.rope(
      out.handle,
      input.handle,
      cos.handle,
      sin.handle,
      positions.handle,
      rows,
      heads,
      headDim,
      sign,
    );
    return out;
  };
  // A rotation's transpose turns the other way.
  return record(turned(x, 1), [x], (dy) => [turned(dy, -1)]);
}
