import { gatherQuantizedRows } from '../../quant/index.ts';
import { type Backend, gatherRows, scope, Tensor, tensor } from '../../tensor/index.ts';
import { linear } from './linear.ts';
import { StreamedMatrix, type TableWeight } from './weight-stream.ts';

/** Rows `ids` of an embedding `[V, D]` as f32 `[T, D]`. */
export function embedding(table: TableWeight, ids: Int32Array, backend: Backend): Tensor {
  if (table instanceof StreamedMatrix) return table.gather(ids);
  const index = tensor(ids, [ids.length], { backend });
  return table instanceof Tensor ? gatherRows(table, index) : gatherQuantizedRows(table, index);
}

/** `x W^T`: rows `[R, D]` by an output matrix `[V, D]`, a piece of it at a time where it is streamed. */
export function outputRows(x: Tensor, matrix: TableWeight): Tensor {
  if (!(matrix instanceof StreamedMatrix)) return linear(x, matrix);
  const [rows] = x.shape;
  const vocab = matrix.outFeatures;
  const out = Tensor.empty([rows, vocab], 'f32', x.backend);
  for (const { from, weight } of matrix.pieces()) {
    scope(() => {
      const part = linear(x, weight);
      const width = part.shape[1];
      x.backend.kernels.copy(
        ...[out.handle, from, part.handle, 0],
        ...[1, 1, rows, width],
        ...[0, 0, vocab, 1],
        ...[0, 0, width, 1],
      );
    });
  }
  return out;
}
