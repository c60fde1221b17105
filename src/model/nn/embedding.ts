import { gatherQuantizedRows } from '../../quant/index.ts';
import { type Backend, gatherRows, Tensor, tensor } from '../../tensor/index.ts';
import type { LinearWeight } from './linear.ts';

/** Rows `ids` of an embedding `[V, D]` as f32 `[T, D]`. */
export function embedding(table: LinearWeight, ids: Int32Array, backend: Backend): Tensor {
  const index = tensor(ids, [ids.length], { backend });
  return table instanceof Tensor ? gatherRows(table, index) : gatherQuantizedRows(table, index);
}
