import { diskFolder } from '../../src/cli/model-files.ts';
import { dequantize, type GgmlType, openHfFolder } from '../../src/model/index.ts';
import { type GgufField, type GgufTensorSpec, writeGguf } from './gguf-writer.ts';
import { permuteRows } from './tiny-gguf.ts';

/**
 * llama.cpp's names by Hugging Face's, as the Python `gguf` package maps them (TensorNameMap);
 * `N` stands for the layer.
 */
const NAMES: Readonly<Record<string, string>> = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  lm_head: 'output',
  'model.layers.N.input_layernorm': 'blk.N.attn_norm',
  'model.layers.N.self_attn.q_proj': 'blk.N.attn_q',
  'model.layers.N.self_attn.k_proj': 'blk.N.attn_k',
  'model.layers.N.self_attn.v_proj': 'blk.N.attn_v',
  'model.layers.N.self_attn.o_proj': 'blk.N.attn_output',
  'model.layers.N.self_attn.q_norm': 'blk.N.attn_q_norm',
  'model.layers.N.self_attn.k_norm': 'blk.N.attn_k_norm',
  'model.layers.N.post_attention_layernorm': 'blk.N.ffn_norm',
  'model.layers.N.mlp.gate_proj': 'blk.N.ffn_gate',
  'model.layers.N.mlp.up_proj': 'blk.N.ffn_up',
  'model.layers.N.mlp.down_proj': 'blk.N.ffn_down',
  'transformer.wte': 'token_embd',
  'transformer.wpe': 'position_embd',
  'transformer.ln_f': 'output_norm',
  'transformer.h.N.ln_1': 'blk.N.attn_norm',
  'transformer.h.N.attn.c_attn': 'blk.N.attn_qkv',
  'transformer.h.N.attn.c_proj': 'blk.N.attn_output',
  'transformer.h.N.ln_2': 'blk.N.ffn_norm',
  'transformer.h.N.mlp.c_fc': 'blk.N.ffn_up',
  'transformer.h.N.mlp.c_proj': 'blk.N.ffn_down',
};

/** Pre-tokenizers as llama.cpp calls them. */
const PRE_TOKENIZERS: Readonly<Record<string, string>> = {
  llama: 'llama-bpe',
  qwen2: 'qwen2',
  qwen3: 'qwen2',
  gpt2: 'gpt-2',
};

const CONTROL = 3;

const u32 = (value: number): GgufField => ({ type: 'uint32', value });
const f32 = (value: number): GgufField => ({ type: 'float32', value });
const text = (value: string): GgufField => ({ type: 'string', value });
const list = (items: GgufField[]): GgufField => ({ type: 'array', items });

type Json = Record<string, never>;

/** Metadata of a model, under the keys that llama.cpp's converter writes. */
function modelMetadata(config: Json): [string, GgufField][] {
  const type = config.model_type as string;
  const of = (key: string, field: GgufField): [string, GgufField] => [`${type}.${key}`, field];
  if (type === 'gpt2') {
    return [
      of('context_length', u32(config.n_positions)),
      of('embedding_length', u32(config.n_embd)),
      of('feed_forward_length', u32(4 * config.n_embd)),
      of('block_count', u32(config.n_layer)),
      of('attention.head_count', u32(config.n_head)),
      of('attention.layer_norm_epsilon', f32(config.layer_norm_epsilon)),
    ];
  }
  return [
    of('context_length', u32(config.max_position_embeddings)),
    of('embedding_length', u32(config.hidden_size)),
    of('feed_forward_length', u32(config.intermediate_size)),
    of('block_count', u32(config.num_hidden_layers)),
    of('attention.head_count', u32(config.num_attention_heads)),
    of('attention.head_count_kv', u32(config.num_key_value_heads)),
    of('attention.layer_norm_rms_epsilon', f32(config.rms_norm_eps)),
    of('rope.freq_base', f32((config.rope_parameters as Json).rope_theta)),
    ...(config.head_dim ? [of('attention.key_length', u32(config.head_dim))] : []),
  ];
}

/** Metadata of a byte-level tokenizer.json. */
function tokenizerMetadata(json: Json, modelType: string, eos: number): [string, GgufField][] {
  const model = json.model as Json;
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(model.vocab as Record<string, number>)) {
    tokens[id] = token;
  }
  const added = new Set((json.added_tokens as { id: number }[]).map(({ id }) => id));
  const merges = (model.merges as (string | string[])[]).map((pair) =>
    typeof pair === 'string' ? pair : pair.join(' '),
  );
  return [
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text(PRE_TOKENIZERS[modelType])],
    ['tokenizer.ggml.tokens', list(tokens.map(text))],
    [
      'tokenizer.ggml.token_type',
      list(tokens.map((_, id) => ({ type: 'int32', value: added.has(id) ? CONTROL : 1 }))),
    ],
    ['tokenizer.ggml.merges', list(merges.map(text))],
    ['tokenizer.ggml.bos_token_id', u32(0)],
    ['tokenizer.ggml.eos_token_id', u32(eos)],
  ];
}

/**
 * A model folder as the GGUF file that llama.cpp's converter makes of it: other names, matrices of
 * GPT-2 turned round, query and key rows of Llama in another order.
 * @param ropeFactors divisors of the rotary frequencies, `rope_freqs.weight`
 */
export async function folderToGguf(path: string, ropeFactors?: Float32Array): Promise<Uint8Array> {
  const reader = diskFolder(path);
  try {
    const folder = await openHfFolder(reader);
    const config = folder.config.json as Json;
    const modelType = config.model_type as string;
    const tensors: GgufTensorSpec[] = [];
    const put = (name: string, shape: readonly number[], values: Float32Array) => {
      const data = new Uint8Array(values.slice().buffer);
      tensors.push({ name, dims: [...shape].reverse(), type: 0, data });
    };
    for (const [name, { shape, type }] of folder.weights.tensors) {
      const bytes = await folder.weights.readTensor(name);
      const values = dequantize(
        type as GgmlType,
        bytes,
        shape.reduce((n, d) => n * d, 1),
      );
      const [, module, kind] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
      const layer = /\d+/.exec(module)?.[0] ?? '';
      const stored = `${NAMES[module.replace(/\d+/, 'N')].replace('N', layer)}.${kind}`;
      if (/\.c_(attn|proj|fc)\.weight$/.test(name)) {
        const [inputs, outputs] = shape;
        const turned = values.map(
          (_, i) => values[(i % inputs) * outputs + Math.floor(i / inputs)],
        );
        put(stored, [outputs, inputs], turned);
      } else if (modelType === 'llama' && /\.(q|k)_proj\.weight$/.test(name)) {
        put(stored, shape, permuteRows(values, config.head_dim, shape[1]));
      } else put(stored, shape, values);
    }
    if (ropeFactors) put('rope_freqs.weight', [ropeFactors.length], ropeFactors);
    return writeGguf({
      metadata: [
        ['general.architecture', text(modelType)],
        ...modelMetadata(config),
        ...tokenizerMetadata(folder.tokenizer?.json as Json, modelType, config.eos_token_id),
        ...(folder.chatTemplate === undefined
          ? []
          : [['tokenizer.chat_template', text(folder.chatTemplate)] as [string, GgufField]]),
      ],
      tensors,
    });
  } finally {
    await reader.close();
  }
}
