import { FormatError, formatShape } from '../../tensor/index.ts';
import { dequantize } from './dequantize.ts';
import type { GgufFile, GgufTensor } from './gguf.ts';
import type { StoredMatrix, WeightSource } from './weight-source.ts';

/** GGUF's names of a Llama-family model's tensors, by ours. `N` stands for the layer. */
const GGUF_NAMES: Record<string, string> = {
  embedTokens: 'token_embd.weight',
  norm: 'output_norm.weight',
  lmHead: 'output.weight',
  'layers.N.inputLayernorm': 'blk.N.attn_norm.weight',
  'layers.N.qProj': 'blk.N.attn_q.weight',
  'layers.N.kProj': 'blk.N.attn_k.weight',
  'layers.N.vProj': 'blk.N.attn_v.weight',
  'layers.N.oProj': 'blk.N.attn_output.weight',
  'layers.N.postAttentionLayernorm': 'blk.N.ffn_norm.weight',
  'layers.N.gateProj': 'blk.N.ffn_gate.weight',
  'layers.N.upProj': 'blk.N.ffn_up.weight',
  'layers.N.downProj': 'blk.N.ffn_down.weight',
};

function ggufName(name: string): string {
  const layer = name.match(/\d+/)?.[0] ?? '';
  const pattern = GGUF_NAMES[name.replace(/\d+/, 'N')];
  return pattern ? pattern.replace('N', layer) : name;
}

/**
 * Undoes the row order in which llama.cpp stores query and key matrices of the Llama family:
 * there the two halves of a head alternate (rotary pairs are neighbours), here they follow each
 * other (Hugging Face's order). Rows are whole blocks, so they move without being decoded.
 */
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

/**
 * The tensor of a GGUF file that has one of our names.
 * @throws FormatError (E_MODEL) when missing or of another shape
 */
export function findGgufTensor(file: GgufFile, name: string, shape: readonly number[]): GgufTensor {
  const stored = ggufName(name);
  const info = file.tensors.get(stored);
  if (!info) throw new FormatError(`${file.name}: tensor ${stored} is missing`, 'E_MODEL');
  if (formatShape(info.shape) !== formatShape(shape)) {
    throw new FormatError(
      `${file.name}: tensor ${stored} is ${formatShape(info.shape)}, expected ${formatShape(shape)}`,
      'E_MODEL',
    );
  }
  return info;
}

/**
 * A GGUF file as a source of weights.
 * @param headDim channels of an attention head, for the row order of query and key matrices
 */
export function ggufWeightSource(
  file: GgufFile,
  fingerprint: string,
  headDim: number,
): WeightSource {
  const find = (name: string, shape: readonly number[]) => findGgufTensor(file, name, shape);
  return {
    fingerprint,
    has: (name) => file.tensors.has(ggufName(name)),
    async matrix(name, rows, columns): Promise<StoredMatrix> {
      const info = find(name, [rows, columns]);
      const stored = await file.readTensor(info.name);
      const bytes = /\.(q|k)Proj$/.test(name) ? unpermuteRows(stored, rows, headDim) : stored;
      const { type } = info;
      return {
        rows,
        columns,
        type,
        bytes,
        toFloat32: () => dequantize(type, bytes, rows * columns),
      };
    },
    async vector(name, length) {
      const info = find(name, [length]);
      return dequantize(info.type, await file.readTensor(info.name), length);
    },
  };
}
