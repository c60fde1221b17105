import { FormatError, formatShape } from '../../tensor/index.ts';
import { dequantizableTypes, dequantize, isDequantizable } from './dequantize.ts';
import type { GgufFile } from './gguf.ts';
import type { StoredMatrix, WeightSource } from './weight-source.ts';

/** How a GGUF file spells an architecture's tensors. */
export interface GgufLayout {
  /** GGUF's name of one of our tensors. */
  readonly name: (ours: string) => string;
  /**
   * Channels of an attention head where query and key rows have llama.cpp's order: there the two
   * halves of a head alternate (rotary pairs are neighbours), here they follow each other.
   */
  readonly interleavedHeads?: number;
}

/** A function from our names to a file's, out of a map in which `N` stands for the layer. */
export function layerNames(map: Readonly<Record<string, string>>): (ours: string) => string {
  return (ours) => {
    const layer = ours.match(/\d+/)?.[0] ?? '';
    return map[ours.replace(/\d+/, 'N')]?.replace('N', layer) ?? ours;
  };
}

/** Rows from llama.cpp's order to Hugging Face's. They are whole blocks, and move undecoded. */
function unpermuteRows(bytes: Uint8Array, rows: number, headDim: number): Uint8Array {
  const rowBytes = bytes.length / rows;
  const half = headDim / 2;
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const inHead = row % headDim;
    const from = row - inHead + (inHead % half) * 2 + Math.floor(inHead / half);
    out.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  }
  return out;
}

/** A GGUF file as a source of weights. */
export function ggufWeightSource(
  file: GgufFile,
  fingerprint: string,
  layout: GgufLayout,
): WeightSource {
  const find = (name: string, shape: readonly number[]) => {
    const stored = layout.name(name);
    const info = file.tensors.get(stored);
    const fail = (what: string, code: string) =>
      new FormatError(`${file.name}: tensor ${stored} ${what}`, code);
    if (!info) throw fail('is missing', 'E_MODEL');
    if (formatShape(info.shape) !== formatShape(shape)) {
      throw fail(`is ${formatShape(info.shape)}, expected ${formatShape(shape)}`, 'E_MODEL');
    }
    const { type } = info;
    if (!isDequantizable(type)) {
      const supported = dequantizableTypes.join(', ');
      throw fail(`is ${type}, which is not supported; supported are ${supported}`, 'E_GGUF_TYPE');
    }
    return { name: info.name, type };
  };
  return {
    fingerprint,
    has: (name) => file.tensors.has(layout.name(name)),
    type: (name, shape) => find(name, shape).type,
    async matrix(name, rows, columns): Promise<StoredMatrix> {
      const { name: storedName, type } = find(name, [rows, columns]);
      const stored = await file.readTensor(storedName);
      const headDim = /\.(q|k)Proj$/.test(name) ? layout.interleavedHeads : undefined;
      const bytes = headDim ? unpermuteRows(stored, rows, headDim) : stored;
      const toFloat32 = () => dequantize(type, bytes, rows * columns);
      return { rows, columns, type, bytes, toFloat32 };
    },
    async vector(name, length) {
      const { name: storedName, type } = find(name, [length]);
      return dequantize(type, await file.readTensor(storedName), length);
    },
  };
}
