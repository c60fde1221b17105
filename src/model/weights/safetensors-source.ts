import { FormatError, formatShape } from '../../tensor/index.ts';
import { dequantize } from './dequantize.ts';
import type { SafetensorsFile } from './safetensors.ts';
import type { StoredMatrix, WeightSource } from './weight-source.ts';

/** Element types that weights may have. */
const WEIGHT_TYPES = ['F32', 'F16', 'BF16'] as const;

/** How a checkpoint spells an architecture's tensors. */
export interface CheckpointLayout {
  /** Where one of our tensors may lie; the first that is there is taken. */
  readonly names: (ours: string) => readonly string[];
  /** Whether a matrix `[N, K]` is stored as `[K, N]`. */
  readonly isTransposed?: (ours: string) => boolean;
}

/** A function from our names to a checkpoint's, out of `layerNames`' map; prefixes are tried in turn. */
export function prefixedNames(
  name: (ours: string) => string,
  prefixes: readonly string[],
): (ours: string) => string[] {
  return (ours) => prefixes.map((prefix) => `${prefix}${name(ours)}`);
}

/** `[K, N]` to `[N, K]`, elements of `size` bytes. */
function transpose(bytes: Uint8Array, rows: number, columns: number, size: number): Uint8Array {
  // Copies, so that the views are aligned whatever the source was.
  const from =
    size === 4 ? new Uint32Array(bytes.slice().buffer) : new Uint16Array(bytes.slice().buffer);
  const out = size === 4 ? new Uint32Array(from.length) : new Uint16Array(from.length);
  for (let k = 0; k < columns; k++) {
    for (let n = 0; n < rows; n++) out[n * columns + k] = from[k * rows + n];
  }
  return new Uint8Array(out.buffer);
}

/** A safetensors file, or several as one, as a source of weights in F32, F16 or BF16. */
export function safetensorsWeightSource(
  file: SafetensorsFile,
  fingerprint: string,
  { names, isTransposed = () => false }: CheckpointLayout,
): WeightSource {
  const stored = (name: string) => names(name).find((one) => file.tensors.has(one));
  const find = (name: string, shape: readonly number[]) => {
    const found = stored(name);
    const entry = found === undefined ? undefined : file.tensors.get(found);
    const fail = (what: string) =>
      new FormatError(`${file.name}: tensor ${found ?? names(name)[0]} ${what}`, 'E_MODEL');
    if (found === undefined || entry === undefined) throw fail('is missing');
    const expected = isTransposed(name) ? [...shape].reverse() : shape;
    if (formatShape(entry.shape) !== formatShape(expected)) {
      throw fail(`is ${formatShape(entry.shape)}, expected ${formatShape(expected)}`);
    }
    const type = WEIGHT_TYPES.find((one) => one === entry.type);
    if (type === undefined) {
      throw fail(`has dtype ${entry.type}; weights are read from ${WEIGHT_TYPES.join(', ')}`);
    }
    return { found, type };
  };
  return {
    fingerprint,
    has: (name) => stored(name) !== undefined,
    type: (name, shape) => find(name, shape).type,
    async matrix(name, rows, columns): Promise<StoredMatrix> {
      const { found, type } = find(name, [rows, columns]);
      const raw = await file.readTensor(found);
      const bytes = isTransposed(name)
        ? transpose(raw, rows, columns, type === 'F32' ? 4 : 2)
        : raw;
      const toFloat32 = () => dequantize(type, bytes, rows * columns);
      return { rows, columns, type, bytes, toFloat32 };
    },
    async vector(name, length) {
      const { found, type } = find(name, [length]);
      return dequantize(type, await file.readTensor(found), length);
    },
  };
}
