import { numberToF16, random } from '../../src/tensor/index.ts';
import { type GgufField, type GgufTensorSpec, writeGguf } from './gguf-writer.ts';

/** Three layers of 64: every part of a real model, small enough to load in no time. */
const MODEL = {
  hiddenSize: 64,
  intermediateSize: 96,
  layers: 3,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  contextLength: 256,
};

/** ggml's numbers of the element types written here. */
const F32 = 0;
const Q4_1 = 3;
const Q8_0 = 8;
const BLOCK = 32;

/** ggml's token type of a control token. */
const CONTROL = 3;

/** Merges, so that the tokenizer has something to merge. */
const MERGES = ['Ġ t', 'h e', 'Ġt he', 'i n', 'Ġ a'];

/** GPT-2's printable character of every byte (`bytes_to_unicode` of its encoder.py). */
function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** 8 bits a value, a scale for 32. */
function toQ8(values: Float32Array): Uint8Array {
  const out = new DataView(new ArrayBuffer((values.length / BLOCK) * 34));
  for (let start = 0, at = 0; start < values.length; start += BLOCK, at += 34) {
    const block = values.subarray(start, start + BLOCK);
    const scale = Math.max(...block.map(Math.abs)) / 127;
    out.setUint16(at, numberToF16(scale), true);
    block.forEach((value, i) => {
      out.setInt8(at + 2 + i, Math.round(value / scale));
    });
  }
  return new Uint8Array(out.buffer);
}

/** 4 bits a value, a scale and a minimum for 32; low nibbles hold the block's first half. */
function toQ41(values: Float32Array): Uint8Array {
  const out = new DataView(new ArrayBuffer((values.length / BLOCK) * 20));
  for (let start = 0, at = 0; start < values.length; start += BLOCK, at += 20) {
    const block = values.subarray(start, start + BLOCK);
    const minimum = Math.min(...block);
    const scale = (Math.max(...block) - minimum) / 15;
    out.setUint16(at, numberToF16(scale), true);
    out.setUint16(at + 2, numberToF16(minimum), true);
    const code = (i: number) => Math.min(15, Math.max(0, Math.round((block[i] - minimum) / scale)));
    for (let i = 0; i < 16; i++) out.setUint8(at + 4 + i, code(i) | (code(i + 16) << 4));
  }
  return new Uint8Array(out.buffer);
}

/**
 * A GGUF file of a tiny Llama with random weights in F32, Q8_0 and Q4_1, and a byte-level
 * vocabulary. Matrices are small beside the embedding, so that what a text is made of can be read
 * from its hidden states.
 */
export function tinyModel(options: { seed?: number; architecture?: string } = {}): Uint8Array {
  const { seed = 1, architecture = 'llama' } = options;
  const { hiddenSize: d, intermediateSize: ff, heads, kvHeads, headDim, layers } = MODEL;
  const merged = MERGES.map((merge) => merge.replace(' ', ''));
  const tokens = [...byteCharacters(), ...merged, '<|endoftext|>'];
  const u32 = (value: number): GgufField => ({ type: 'uint32', value });
  const f32 = (value: number): GgufField => ({ type: 'float32', value });
  const text = (value: string): GgufField => ({ type: 'string', value });
  const list = (items: GgufField[]): GgufField => ({ type: 'array', items });

  const tensors: GgufTensorSpec[] = [];
  const vector = (name: string) => {
    const rng = random(seed).fork(name);
    const values = Float32Array.from({ length: d }, () => rng.uniform(0.8, 1.2));
    tensors.push({ name, dims: [d], type: F32, data: new Uint8Array(values.buffer) });
  };
  const matrix = (name: string, rows: number, columns: number, type: number, deviation: number) => {
    const rng = random(seed).fork(name);
    const values = Float32Array.from({ length: rows * columns }, () => rng.normal(0, deviation));
    const data =
      type === Q8_0 ? toQ8(values) : type === Q4_1 ? toQ41(values) : new Uint8Array(values.buffer);
    tensors.push({ name, dims: [columns, rows], type, data });
  };
  const small = (columns: number) => 0.3 / Math.sqrt(columns);
  matrix('token_embd.weight', tokens.length, d, Q8_0, 1);
  vector('output_norm.weight');
  for (let layer = 0; layer < layers; layer++) {
    const at = `blk.${layer}`;
    vector(`${at}.attn_norm.weight`);
    vector(`${at}.ffn_norm.weight`);
    matrix(`${at}.attn_q.weight`, heads * headDim, d, Q4_1, small(d));
    matrix(`${at}.attn_k.weight`, kvHeads * headDim, d, Q4_1, small(d));
    matrix(`${at}.attn_v.weight`, kvHeads * headDim, d, Q8_0, small(d));
    matrix(`${at}.attn_output.weight`, d, heads * headDim, F32, small(d));
    matrix(`${at}.ffn_gate.weight`, ff, d, Q4_1, small(d));
    matrix(`${at}.ffn_up.weight`, ff, d, Q4_1, small(d));
    matrix(`${at}.ffn_down.weight`, d, ff, Q8_0, small(ff));
  }
  return writeGguf({
    metadata: [
      ['general.architecture', text(architecture)],
      ['llama.embedding_length', u32(d)],
      ['llama.feed_forward_length', u32(ff)],
      ['llama.block_count', u32(layers)],
      ['llama.context_length', u32(MODEL.contextLength)],
      ['llama.attention.head_count', u32(heads)],
      ['llama.attention.head_count_kv', u32(kvHeads)],
      ['llama.attention.layer_norm_rms_epsilon', f32(1e-5)],
      ['llama.rope.dimension_count', u32(headDim)],
      ['llama.rope.freq_base', f32(10_000)],
      ['tokenizer.ggml.model', text('gpt2')],
      ['tokenizer.ggml.pre', text('smollm')],
      ['tokenizer.ggml.tokens', list(tokens.map(text))],
      [
        'tokenizer.ggml.token_type',
        list(
          tokens.map((_, id) => ({ type: 'int32', value: id === tokens.length - 1 ? CONTROL : 1 })),
        ),
      ],
      ['tokenizer.ggml.merges', list(MERGES.map(text))],
      ['tokenizer.ggml.eos_token_id', u32(tokens.length - 1)],
    ],
    tensors,
  });
}

/** A labelled row as a data file holds it. */
export interface TinyRow {
  readonly text: string;
  readonly label: string;
}

/** Letters of which a class's words are mostly made. */
const ALPHABETS = ['abcdefgh', 'ijklmnop', 'qrstuvwx'];

/** How often a letter is of its class's alphabet; below 1, so that no method gets every row right. */
const OWN_LETTERS = 0.62;

/**
 * Rows of classes that can be told apart by their letters. The classes take turns.
 * @param labels up to three names
 */
export function tinyRows(
  count: number,
  options: { seed?: number; labels?: readonly string[]; words?: number } = {},
): TinyRow[] {
  const { seed = 1, labels = ['low', 'middle', 'high'], words = 3 } = options;
  const rng = random(seed).fork('rows');
  return Array.from({ length: count }, (_, i) => {
    const own = i % labels.length;
    const letter = () => {
      const alphabet = ALPHABETS[rng.uniform() < OWN_LETTERS ? own : rng.int(ALPHABETS.length)];
      return alphabet[rng.int(alphabet.length)];
    };
    const word = () => Array.from({ length: 4 }, letter).join('');
    return { text: Array.from({ length: words }, word).join(' '), label: labels[own] };
  });
}

/** Rows as JSON Lines. */
export function jsonLines(rows: readonly object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('');
}
