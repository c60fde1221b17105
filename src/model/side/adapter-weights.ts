import type { ByteSource } from '../../platform/byte-source.ts';
import {
  type Backend,
  FormatError,
  flatten,
  formatShape,
  keep,
  mapTree,
  random,
  type Tree,
  tensor,
} from '../../tensor/index.ts';
import { encodeSafetensors, type NamedValues, openSafetensors } from '../weights/safetensors.ts';
import type { SideModel } from './side-model.ts';
import type { Standardizer } from './taps.ts';

/** What training leaves behind: parameters as plain numbers by path, and how taps were standardised. */
export interface AdapterWeights {
  readonly params: ReadonlyMap<string, NamedValues>;
  readonly standardizer: Standardizer;
}

const MEAN = 'standardizer.mean';
const SCALE = 'standardizer.scale';

/** Reads a parameter tree back from its backend. */
export function exportParams(params: Tree): Map<string, NamedValues> {
  return new Map(
    [...flatten(params)].map(([path, leaf]) => [
      path,
      { shape: leaf.shape, values: leaf.toFloat32() },
    ]),
  );
}

/** The bytes of `adapter_model.safetensors`. */
export function encodeAdapterWeights(weights: AdapterWeights, model: SideModel): Uint8Array {
  const { layers, kinds, width } = model.shape;
  const { mean, scale } = weights.standardizer;
  const shape = [layers, kinds, width];
  const tensors = new Map(weights.params);
  tensors.set(MEAN, { shape, values: mean });
  tensors.set(SCALE, { shape, values: scale });
  return encodeSafetensors(tensors, { format: 'mobillm-side', side: model.name });
}

/** A trained side model, ready to run. */
export interface LoadedAdapter {
  readonly model: SideModel;
  readonly params: Tree;
  readonly standardizer: Standardizer;
}

/**
 * Reads adapter weights into the form `model` has.
 * @throws FormatError when a tensor is missing, left over, or of another shape
 */
export async function loadAdapterWeights(
  source: ByteSource,
  model: SideModel,
  backend: Backend,
): Promise<LoadedAdapter> {
  const file = await openSafetensors(source);
  const skeleton = model.init(random(0), backend);
  const { layers, kinds, width } = model.shape;
  const expected = new Map<string, readonly number[]>(
    [...flatten(skeleton)].map(([path, leaf]) => [path, leaf.shape]),
  );
  expected.set(MEAN, [layers, kinds, width]);
  expected.set(SCALE, [layers, kinds, width]);
  for (const name of file.tensors.keys()) {
    if (!expected.has(name)) {
      throw new FormatError(
        `${file.name}: tensor ${name} is not part of a ${model.name} side network`,
        'E_ADAPTER',
      );
    }
  }
  const values = new Map<string, Float32Array>();
  for (const [name, shape] of expected) {
    const entry = file.tensors.get(name);
    if (entry?.dtype !== 'f32' || formatShape(entry.shape) !== formatShape(shape)) {
      throw new FormatError(
        `${file.name}: tensor ${name} is ${entry ? `${entry.dtype} ${formatShape(entry.shape)}` : 'missing'}, expected f32 ${formatShape(shape)}`,
        'E_ADAPTER',
      );
    }
    const bytes = await file.readTensor(name);
    values.set(name, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
  }
  const params = mapTree(skeleton, (leaf, path) => {
    const loaded = tensor(values.get(path) as Float32Array, leaf.shape, { backend });
    leaf.dispose();
    return keep(loaded);
  });
  return {
    model,
    params,
    standardizer: {
      mean: values.get(MEAN) as Float32Array,
      scale: values.get(SCALE) as Float32Array,
    },
  };
}
