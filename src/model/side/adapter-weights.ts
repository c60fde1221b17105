import type { ByteSource } from '../../platform/byte-source.ts';
import {
  type Backend,
  disposeTree,
  FormatError,
  flatten,
  formatShape,
  keep,
  mapTree,
  random,
  type Tree,
  tensor,
} from '../../tensor/index.ts';
import {
  encodeSafetensors,
  type NamedValues,
  openSafetensors,
  type SafetensorsFile,
} from '../weights/safetensors.ts';
import type { SideModel } from './side-model.ts';
import type { ChannelAffine } from './tap-statistics.ts';

/** What training leaves behind, as plain numbers. */
export interface AdapterWeights {
  /** By path. */
  readonly params: ReadonlyMap<string, NamedValues>;
  /** How decoded taps are standardised. */
  readonly standardizer: ChannelAffine;
  /** How the codec was calibrated. */
  readonly calibration: ChannelAffine;
}

/** Names of the per-channel tensors `[L, K, D]` beside the parameters. */
const CHANNELS = ['standardizer', 'calibration'] as const;

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
  const shape = [layers, kinds, width];
  const tensors = new Map(weights.params);
  for (const name of CHANNELS) {
    tensors.set(`${name}.mean`, { shape, values: weights[name].mean });
    tensors.set(`${name}.scale`, { shape, values: weights[name].scale });
  }
  return encodeSafetensors(tensors, { format: 'mobillm-side', side: model.name });
}

/** A trained side model, ready to run. */
export interface LoadedAdapter {
  readonly model: SideModel;
  readonly params: Tree;
  readonly standardizer: ChannelAffine;
  readonly calibration: ChannelAffine;
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
  try {
    const values = await readAdapterTensors(file, model, skeleton);
    const params = mapTree(skeleton, (leaf, path) =>
      keep(tensor(values.get(path) as Float32Array, leaf.shape, { backend })),
    );
    const channels = (name: (typeof CHANNELS)[number]): ChannelAffine => ({
      mean: values.get(`${name}.mean`) as Float32Array,
      scale: values.get(`${name}.scale`) as Float32Array,
    });
    return {
      model,
      params,
      standardizer: channels('standardizer'),
      calibration: channels('calibration'),
    };
  } finally {
    disposeTree(skeleton);
  }
}

/** All tensors of the file by name, of the shapes that `skeleton` and the channels have. */
async function readAdapterTensors(
  file: SafetensorsFile,
  model: SideModel,
  skeleton: Tree,
): Promise<Map<string, Float32Array>> {
  const { layers, kinds, width } = model.shape;
  const expected = new Map<string, readonly number[]>(
    [...flatten(skeleton)].map(([path, leaf]) => [path, leaf.shape]),
  );
  for (const name of CHANNELS) {
    expected.set(`${name}.mean`, [layers, kinds, width]);
    expected.set(`${name}.scale`, [layers, kinds, width]);
  }
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
    if (entry?.type !== 'F32' || formatShape(entry.shape) !== formatShape(shape)) {
      throw new FormatError(
        `${file.name}: tensor ${name} is ${entry ? `${entry.type} ${formatShape(entry.shape)}` : 'missing'}, expected F32 ${formatShape(shape)}`,
        'E_ADAPTER',
      );
    }
    const bytes = await file.readTensor(name);
    values.set(name, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
  }
  return values;
}
