import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { FormatError } from '../tensor/errors.ts';
import { BytePairs } from './byte-pairs.ts';
import { StringTable } from './string-table.ts';
import { byteDecoding, byteLevelBytes } from './tokenizer-bytes.ts';
import type { GgufValue } from './weights/gguf.ts';

/** Text to token ids and back. */
export interface Tokenizer {
  /** Tokens of the vocabulary; ids are below it. */
  readonly vocabSize: number;
  /** The id that ends a text; generation stops there. */
  readonly eosTokenId: number | undefined;
  /** The id that begins a text, where the model has one. */
  readonly bosTokenId: number | undefined;
  /**
   * A text's ids. Control tokens written out in the text (`<|im_start|>`) become their ids; bytes
   * without a token are dropped. The begin token leads only where the file asks for it.
   */
  encode(text: string): number[];
  /** As `encode`, without the tokens that stand around a text; left out where there are none. */
  encodePlain?(text: string): number[];
  /** Two texts for a model that reads pairs, with what stands around and between them. */
  encodePair?(text: string, pair: string): TokenizedPair;
  /**
   * The text of ids, control tokens written out; bytes that are no UTF-8 become U+FFFD.
   * @throws FormatError `E_TOKENIZER` for an id outside the vocabulary.
   */
  decode(ids: Iterable<number>): string;
  /** A decoder for ids that come one at a time. */
  decodeStream(): DecodeStream;
  /** The id's token as the vocabulary spells it (a space is `Ġ`); undefined outside it. */
  token(id: number): string | undefined;
}

/** Two texts as one sequence. */
export interface TokenizedPair {
  readonly ids: number[];
  /** Of each id: 0 in the first text, 1 in the second. */
  readonly tokenTypes: number[];
}

/** Decodes ids one at a time without ever showing half a character. */
export interface DecodeStream {
  /**
   * The text that is complete now; a character whose bytes are still to come waits.
   * @throws FormatError `E_TOKENIZER` for an id outside the vocabulary.
   */
  push(id: number): string;
  /** What is left, at the end: U+FFFD when the last character never came whole. */
  flush(): string;
}

/** llama.cpp's token types (llama.h, `llama_token_type`) that matter here. */
const TOKEN_NORMAL = 1;
const TOKEN_CONTROL = 3;
const TOKEN_USER_DEFINED = 4;

/** What the library asks of a vocabulary: tokens of words, and their ids. */
type WordModel = ((words: readonly string[]) => string[]) & {
  readonly tokens_to_ids: Pick<ReadonlyMap<string, number>, 'get'>;
};

/** How a text is cut before its pieces are merged. */
interface PreTokenizer {
  /** Regular expressions whose matches are isolated, in turn. */
  readonly splits: readonly string[];
  /** Whether GPT-2's regular expression comes last. */
  readonly gpt2: boolean;
  /** Whether the text is brought into Unicode's composed form first. */
  readonly nfc?: boolean;
  /** Whether a piece that is a token stays whole, and the begin token leads unless denied. */
  readonly llama3?: boolean;
}

/** What Llama 3 and Qwen cut into: contractions, words with what stands before them, numbers, signs, blanks. */
const wordsAndNumbers = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/**
 * Pre-tokenizers by the name in the file (`tokenizer.ggml.pre`; llama.cpp, `llm_tokenizer_bpe`).
 * `smollm` isolates every number character; it must be a split, since `Digits` joins and splits
 * other characters.
 */
const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  smollm: { splits: ['\\p{N}'], gpt2: true },
  'gpt-2': { splits: [], gpt2: true },
  'llama-bpe': { splits: [wordsAndNumbers('{1,3}')], gpt2: false, llama3: true },
  qwen2: { splits: [wordsAndNumbers('')], gpt2: false, nfc: true },
};

function fail(message: string): never {
  throw new FormatError(`tokenizer: ${message}`, 'E_TOKENIZER');
}

function strings(metadata: ReadonlyMap<string, GgufValue>, key: string): StringTable {
  const value = metadata.get(key);
  if (value === undefined) fail(`metadata ${key} is missing`);
  if (!(value instanceof StringTable)) fail(`metadata ${key} is no array of strings`);
  return value;
}

function tokenId(
  metadata: ReadonlyMap<string, GgufValue>,
  key: string,
  vocabSize: number,
): number | undefined {
  const value = metadata.get(key);
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !(value >= 0 && value < vocabSize)) {
    fail(`metadata ${key} is ${String(value)}, no id of a vocabulary of ${vocabSize}`);
  }
  return value;
}

/**
 * The tokenizer that a GGUF file's metadata describes: byte-level BPE (`tokenizer.ggml.model`
 * `gpt2`) with a pre-tokenizer known here. The Hugging Face library cuts texts into words, after a
 * `tokenizer.json` made in memory; `BytePairs` cuts words into tokens.
 * @throws FormatError `E_TOKENIZER`, naming a tokenizer model or pre-tokenizer that is not
 * supported, or the metadata that is missing or malformed.
 */
export function tokenizerFromGguf(metadata: ReadonlyMap<string, GgufValue>): Tokenizer {
  const model = metadata.get('tokenizer.ggml.model');
  if (model !== 'gpt2') {
    fail(`tokenizer model ${JSON.stringify(model ?? null)} is not supported (gpt2 is)`);
  }
  const pre = metadata.get('tokenizer.ggml.pre') ?? null;
  if (typeof pre !== 'string' || !Object.hasOwn(PRE_TOKENIZERS, pre)) {
    const known = Object.keys(PRE_TOKENIZERS).join(', ');
    fail(`pre-tokenizer ${JSON.stringify(pre)} is not supported (${known} are)`);
  }
  const cut = PRE_TOKENIZERS[pre];
  const tokens = strings(metadata, 'tokenizer.ggml.tokens');
  const merges = strings(metadata, 'tokenizer.ggml.merges');
  const wholeWords = cut.llama3 === true;
  const pairs = new BytePairs(tokens, merges, { wholeWords, fail });
  const types = metadata.get('tokenizer.ggml.token_type');
  if (types !== undefined && !(types instanceof Int32Array && types.length === tokens.length)) {
    fail(`metadata tokenizer.ggml.token_type is not one int32 for each of ${tokens.length} tokens`);
  }
  const typeOf = (id: number) => (types as Int32Array | undefined)?.[id] ?? TOKEN_NORMAL;

  const addedTokens: { id: number; content: string; special: boolean; normalized: false }[] = [];
  for (let id = 0; id < tokens.length; id++) {
    const type = typeOf(id);
    if (type !== TOKEN_CONTROL && type !== TOKEN_USER_DEFINED) continue;
    const content = tokens.at(id) as string;
    if (content !== '' && pairs.ids.get(content) === id) {
      addedTokens.push({ id, content, special: type === TOKEN_CONTROL, normalized: false });
    }
  }
  const library = new HuggingFaceTokenizer(
    {
      version: '1.0',
      added_tokens: addedTokens,
      normalizer: cut.nfc ? { type: 'NFC' } : null,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          ...cut.splits.map((Regex) => ({
            type: 'Split',
            pattern: { Regex },
            behavior: 'Isolated',
            invert: false,
          })),
          { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: cut.gpt2 },
        ],
      },
      post_processor: null,
      decoder: { type: 'ByteLevel' },
      model: { type: 'BPE', vocab: {}, merges: [], unk_token: null, byte_fallback: false },
    },
    { clean_up_tokenization_spaces: false },
  );
  // The library's own would hold every pair as a text: ten times the bytes.
  (library as unknown as { model: WordModel }).model = Object.assign(
    (words: readonly string[]) => words.flatMap((word) => pairs.encode(word)),
    { tokens_to_ids: pairs.ids },
  );

  const bosTokenId = tokenId(metadata, 'tokenizer.ggml.bos_token_id', tokens.length);
  const eosTokenId = tokenId(metadata, 'tokenizer.ggml.eos_token_id', tokens.length);
  const leads = metadata.get('tokenizer.ggml.add_bos_token') ?? cut.llama3 === true;
  const lead = leads === true && bosTokenId !== undefined ? [bosTokenId] : [];

  const plain = (text: string) => library.encode(text, { add_special_tokens: false }).ids;
  const encoder = new TextEncoder();
  const verbatim = new Set(addedTokens.map(({ id }) => id));
  const levelBytes = byteLevelBytes();
  const { decode, decodeStream } = byteDecoding((id) => {
    const content = tokens.at(id);
    if (content === undefined) fail(`id ${id} is not in the vocabulary of ${tokens.length}`);
    return verbatim.has(id) ? encoder.encode(content) : levelBytes(content);
  });

  return {
    vocabSize: tokens.length,
    bosTokenId,
    eosTokenId,
    encode: (text) => [...lead, ...plain(text)],
    encodePlain: plain,
    decode,
    decodeStream,
    token: (id) => tokens.at(id),
  };
}
