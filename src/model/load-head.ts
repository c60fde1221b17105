import { type Backend, keep, Tensor, UsageError } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import { packMatrix } from './pack-matrix.ts';
import type { StoredModel } from './registry.ts';
import { encodeLmHead } from './side/lm-head.ts';
import type { WeightSource } from './weights/weight-source.ts';

/**
 * The output head of a model as a device that holds it in this precision sends it, byte for byte. Of
 * its weights those of the layers are not read.
 * @throws UsageError of an encoder, which has none; FormatError when the weights lack a tensor
 */
export async function loadLmHead(
  model: Pick<StoredModel, 'config' | 'load'>,
  weights: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
): Promise<Uint8Array> {
  const source: WeightSource = {
    ...weights,
    has: (name) => weights.has(name),
    async packed(name, shape) {
      // Nothing goes through the layers.
      if (name.startsWith('layers.')) return keep(Tensor.empty([1], 'f32', backend));
      const [rows, columns] = shape;
      if (columns !== undefined) {
        return packMatrix(await weights.matrix(name, rows, columns), precision, backend);
      }
      const tensor = keep(Tensor.empty([rows], 'f32', backend));
      tensor.write(await weights.vector(name, rows));
      return tensor;
    },
  };
  const backbone = await model.load(source, precision, backend);
  try {
    const { outputHead } = backbone;
    if (outputHead) return encodeLmHead(outputHead, backend);
    throw new UsageError(`${model.config.modelType} is an encoder and makes no next token`);
  } finally {
    backbone.dispose();
  }
}
