import type { GgufField, GgufSpec, GgufTensorSpec } from './gguf-writer.ts';
import { TINY, tinyValues } from './tiny-llama.ts';

/** Metadata of `TINY` under GGUF's keys. */
export const TINY_METADATA: readonly [string, GgufField][] = [
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['llama.embedding_length', { type: 'uint32', value: TINY.hiddenSize }],
  ['llama.feed_forward_length', { type: 'uint32', value: TINY.intermediateSize }],
  ['llama.block_count', { type: 'uint32', value: TINY.numHiddenLayers }],
  ['llama.attention.head_count', { type: 'uint32', value: TINY.numAttentionHeads }],
  ['llama.attention.head_count_kv', { type: 'uint32', value: TINY.numKeyValueHeads }],
  ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: TINY.rmsNormEps }],
  ['llama.rope.dimension_count', { type: 'uint32', value: TINY.headDim }],
  ['llama.rope.freq_base', { type: 'float32', value: TINY.ropeTheta }],
  ['llama.context_length', { type: 'uint32', value: TINY.maxPositionEmbeddings }],
];

/** llama.cpp's order of query and key rows: element s of pair j of head h stands at [h, j, s]. */
export function permuteRows(values: Float32Array, headDim: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  const heads = values.length / columns / headDim;
  for (let h = 0; h < heads; h++) {
    for (let s = 0; s < 2; s++) {
      for (let j = 0; j < headDim / 2; j++) {
        const from = (h * headDim + s * (headDim / 2) + j) * columns;
        const to = (h * headDim + j * 2 + s) * columns;
        out.set(values.subarray(from, from + columns), to);
      }
    }
  }
  return out;
}

/** The model of `tinyValues(seed)` as a GGUF file of f32 tensors, parts of it replaced. */
export function tinyGguf(seed: number, changes: Partial<GgufSpec> = {}): GgufSpec {
  const { hiddenSize: d, intermediateSize, headDim, vocabSize } = TINY;
  const tensors: GgufTensorSpec[] = [];
  const put = (stored: string, name: string, shape: number[], permuted = false) => {
    const values = tinyValues(seed, name, shape);
    const written = permuted ? permuteRows(values, headDim, shape[1]) : values;
    const data = new Uint8Array(written.buffer);
    tensors.push({ name: stored, dims: [...shape].reverse(), type: 0, data });
  };
  put('token_embd.weight', 'embedTokens', [vocabSize, d]);
  put('output_norm.weight', 'norm', [d]);
  const kvWidth = TINY.numKeyValueHeads * headDim;
  for (let i = 0; i < TINY.numHiddenLayers; i++) {
    const [from, to] = [`layers.${i}`, `blk.${i}`];
    put(`${to}.attn_norm.weight`, `${from}.inputLayernorm`, [d]);
    put(`${to}.attn_q.weight`, `${from}.qProj`, [d, d], true);
    put(`${to}.attn_k.weight`, `${from}.kProj`, [kvWidth, d], true);
    put(`${to}.attn_v.weight`, `${from}.vProj`, [kvWidth, d]);
    put(`${to}.attn_output.weight`, `${from}.oProj`, [d, d]);
    put(`${to}.ffn_norm.weight`, `${from}.postAttentionLayernorm`, [d]);
    put(`${to}.ffn_gate.weight`, `${from}.gateProj`, [intermediateSize, d]);
    put(`${to}.ffn_up.weight`, `${from}.upProj`, [intermediateSize, d]);
    put(`${to}.ffn_down.weight`, `${from}.downProj`, [d, intermediateSize]);
  }
  return { metadata: [...TINY_METADATA], tensors, ...changes };
}
