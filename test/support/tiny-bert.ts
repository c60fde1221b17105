import {
  type Bert,
  type BertConfig,
  bertTensorNames,
  encodeSafetensors,
  loadBert,
  type NamedValues,
  openSafetensors,
  safetensorsWeightSource,
} from '../../src/model/index.ts';
import { memoryByteSource } from '../../src/platform/byte-source.ts';
import { type Backend, random } from '../../src/tensor/index.ts';

/** config.json of a BERT small enough to run by hand. */
export const TINY_BERT_JSON = {
  model_type: 'bert',
  architectures: ['BertModel'],
  hidden_act: 'gelu',
  hidden_size: 12,
  num_attention_heads: 3,
  num_hidden_layers: 2,
  intermediate_size: 20,
  vocab_size: 11,
  type_vocab_size: 2,
  max_position_embeddings: 16,
  layer_norm_eps: 1e-6,
  hidden_dropout_prob: 0.1,
};

/** What `TINY_BERT_JSON` says, in our names. */
export const TINY_BERT: BertConfig = {
  modelType: 'bert',
  hiddenSize: 12,
  numAttentionHeads: 3,
  numHiddenLayers: 2,
  intermediateSize: 20,
  vocabSize: 11,
  typeVocabSize: 2,
  maxPositionEmbeddings: 16,
  layerNormEps: 1e-6,
};

/** A tokenizer.json for that vocabulary; truncation and padding as sentence models have them. */
export const TINY_TOKENIZER_JSON = {
  version: '1.0',
  truncation: { max_length: 4, strategy: 'LongestFirst', stride: 0 },
  padding: { strategy: { Fixed: 9 }, direction: 'Right', pad_id: 0, pad_token: '[PAD]' },
  added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]'].map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: { type: 'BertNormalizer', clean_text: true, lowercase: true, strip_accents: null },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
      { Sequence: { id: 'B', type_id: 1 } },
      { SpecialToken: { id: '[SEP]', type_id: 1 } },
    ],
    special_tokens: {
      '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
      '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
    },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 20,
    vocab: Object.fromEntries(
      ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'good', 'bad', 'film', '##s', 'the', '.', 'un'].map(
        (token, id) => [token, id],
      ),
    ),
  },
};

const LAYER_MATRICES = { qProj: [12, 12], kProj: [12, 12], vProj: [12, 12], oProj: [12, 12] };

/** Shapes of all tensors by our names. */
function shapes(): Map<string, number[]> {
  const all = new Map<string, number[]>([
    ['embedTokens', [11, 12]],
    ['embedPositions', [16, 12]],
    ['embedTokenTypes', [2, 12]],
    ['embeddingNorm', [12]],
    ['embeddingNormBias', [12]],
  ]);
  for (let i = 0; i < TINY_BERT.numHiddenLayers; i++) {
    const matrices = { ...LAYER_MATRICES, upProj: [20, 12], downProj: [12, 20] };
    for (const [name, shape] of Object.entries(matrices)) {
      all.set(`layers.${i}.${name}`, shape);
      all.set(`layers.${i}.${name}Bias`, [shape[0]]);
    }
    for (const norm of ['attentionNorm', 'outputNorm']) {
      all.set(`layers.${i}.${norm}`, [12]);
      all.set(`layers.${i}.${norm}Bias`, [12]);
    }
  }
  return all;
}

/** All tensors by our names: multiples of 1/64 below 2, so that F16 and BF16 hold them exactly. */
export function tinyBertValues(seed: number): Map<string, NamedValues> {
  return new Map(
    [...shapes()].map(([name, shape]) => {
      const rng = random(seed).fork(name);
      const numel = shape.reduce((n, length) => n * length, 1);
      const isNorm = /Norm$/.test(name);
      const draw = () => (isNorm ? 0.5 + rng.int(64) / 64 : (rng.int(128) - 64) / 64);
      return [name, { shape, values: Float32Array.from({ length: numel }, draw) }];
    }),
  );
}

/** The bytes of a model.safetensors. @param prefixed as models with a head name their tensors */
export function tinyBertSafetensors(seed: number, prefixed = false): Uint8Array {
  return encodeSafetensors(
    new Map(
      [...tinyBertValues(seed)].map(([name, one]) => [
        bertTensorNames(name)[prefixed ? 1 : 0],
        one,
      ]),
    ),
  );
}

/** The model of `tinyBertValues(seed)`. */
export async function tinyBert(backend: Backend, seed = 1): Promise<Bert> {
  const file = await openSafetensors(memoryByteSource(tinyBertSafetensors(seed)));
  const weights = safetensorsWeightSource(file, '0'.repeat(64), { names: bertTensorNames });
  return loadBert(TINY_BERT, weights, 'f32', backend);
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, x, i) => sum + x * b[i], 0);

/** erf by its Taylor series, in float64; arguments here stay below 6. */
function erf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return Math.abs(x) > 5 ? Math.sign(x) : (2 / Math.sqrt(Math.PI)) * sum;
}

/** One sequence through `tinyBertValues(seed)`, written down from the paper in float64: rows after 0..L layers. */
export function naiveBert(
  seed: number,
  ids: readonly number[],
  tokenTypes: readonly number[],
): number[][][] {
  const { hiddenSize: d, numAttentionHeads: heads, layerNormEps } = TINY_BERT;
  const all = tinyBertValues(seed);
  const values = (name: string) => [...(all.get(name) as NamedValues).values];
  const row = (name: string, i: number) => values(name).slice(i * d, (i + 1) * d);
  const affine = (x: number[], name: string) => {
    const w = values(name);
    return values(`${name}Bias`).map((bias, n) => {
      return bias + dot(x, w.slice(n * x.length, (n + 1) * x.length));
    });
  };
  const norm = (x: number[], name: string) => {
    const mean = x.reduce((a, b) => a + b, 0) / d;
    const deviation = Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / d + layerNormEps);
    const bias = values(`${name}Bias`);
    return values(name).map((weight, i) => ((x[i] - mean) / deviation) * weight + bias[i]);
  };
  const plus = (a: number[], b: number[]) => a.map((x, i) => x + b[i]);
  let x = ids.map((id, t) =>
    norm(
      plus(
        plus(row('embedTokens', id), row('embedPositions', t)),
        row('embedTokenTypes', tokenTypes[t]),
      ),
      'embeddingNorm',
    ),
  );
  const hidden = [x];
  for (let i = 0; i < TINY_BERT.numHiddenLayers; i++) {
    const at = `layers.${i}`;
    const [q, k, v] = ['qProj', 'kProj', 'vProj'].map((name) =>
      x.map((one) => affine(one, `${at}.${name}`)),
    );
    const attended = x.map((one, t) => {
      const out: number[] = [];
      for (let h = 0; h < heads; h++) {
        const part = (y: number[]) => y.slice((h * d) / heads, ((h + 1) * d) / heads);
        const weights = k.map((key) => Math.exp(dot(part(q[t]), part(key)) / Math.sqrt(d / heads)));
        const total = weights.reduce((a, b) => a + b, 0);
        for (let c = 0; c < d / heads; c++) {
          out.push(weights.reduce((sum, w, s) => sum + (w / total) * part(v[s])[c], 0));
        }
      }
      return norm(plus(affine(out, `${at}.oProj`), one), `${at}.attentionNorm`);
    });
    x = attended.map((one) => {
      const inner = affine(one, `${at}.upProj`).map((y) => (y * (1 + erf(y / Math.SQRT2))) / 2);
      return norm(plus(affine(inner, `${at}.downProj`), one), `${at}.outputNorm`);
    });
    hidden.push(x);
  }
  return hidden;
}
