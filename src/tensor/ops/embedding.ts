import { record } from '../autograd.ts';
import { commonBackend, expectDType, Tensor, zeros } from '../tensor.ts';
import { expectIndices, expectRank } from './launch.ts';

/**
 * Rows of a table: `out[i] = table[ids[i]]`, table `[V, D]`, ids i32 of any shape, out
 * `[...ids, D]`. A row asked for twice gets the sum of its gradients.
 * @throws ShapeError when an id is not in 0..V-1
 */
export function gatherRows(table: Tensor, ids: Tensor): Tensor {
  expectDType('gatherRows', 'f32', table);
  const { kernels } = commonBackend('gatherRows', table, ids);
  expectRank('gatherRows', table, 2, 'table');
  const [rows, d] = table.shape;
  expectIndices('gatherRows', ids, rows, 'id');
  const n = ids.numel;
  const out = Tensor.empty([...ids.shape, d], 'f32', table.backend);
  kernels.gatherRows(out.handle, table.handle, ids.handle, n, d);
  return record(out, [table], (dy) => {
    const dTable = zeros(table.shape, table.backend);
    kernels.scatterAddRows(dTable.handle, dy.handle, ids.handle, n, d);
    return [dTable];
  });
}
