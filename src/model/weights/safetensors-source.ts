import { FormatError, formatShape } from '../../tensor/index.ts';
import { dequantize } from './dequantize.ts';
import type { SafetensorsFile } from './safetensors.ts';
import type { StoredMatrix, WeightSource } from './weight-source.ts';

/** Element types that weights may have. */
const WEIGHT_TYPES = ['F32', 'F16', 'BF16'] as const;

/**
 * A safetensors file as a source of weights in F32, F16 or BF16.
 * @param names where one of our tensors may lie in the file; the first that is there is taken
 */
export function safetensorsWeightSource(
  file: SafetensorsFile,
  fingerprint: string,
  names: (name: string) => readonly string[],
): WeightSource {
  const stored = (name: string) => names(name).find((one) => file.tensors.has(one));
  const find = async (name: string, shape: readonly number[]) => {
    const found = stored(name);
    const entry = found === undefined ? undefined : file.tensors.get(found);
    const fail = (what: string) =>
      new FormatError(`${file.name}: tensor ${found ?? names(name)[0]} ${what}`, 'E_MODEL');
    if (found === undefined || entry === undefined) throw fail('is missing');
    if (formatShape(entry.shape) !== formatShape(shape)) {
      throw fail(`is ${formatShape(entry.shape)}, expected ${formatShape(shape)}`);
    }
    const type = WEIGHT_TYPES.find((one) => one === entry.type);
    if (type === undefined) {
      throw fail(`has dtype ${entry.type}; weights are read from ${WEIGHT_TYPES.join(', ')}`);
    }
    return { type, bytes: await file.readTensor(found) };
  };
  return {
    fingerprint,
    has: (name) => stored(name) !== undefined,
    async matrix(name, rows, columns): Promise<StoredMatrix> {
      const { type, bytes } = await find(name, [rows, columns]);
      const toFloat32 = () => dequantize(type, bytes, rows * columns);
      return { rows, columns, type, bytes, toFloat32 };
    },
    async vector(name, length) {
      const { type, bytes } = await find(name, [length]);
      return dequantize(type, bytes, length);
    },
  };
}
