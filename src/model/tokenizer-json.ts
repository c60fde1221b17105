import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { FormatError } from '../tensor/errors.ts';
import type { DecodeStream, Tokenizer } from './tokenizer.ts';
import { byteDecoding, byteLevelBytes, metaspaceBytes } from './tokenizer-bytes.ts';

/** Marks a token that continues a word. */
const CONTINUATION = '##';

/** Kinds of vocabulary that are read. */
const MODELS = ['BPE', 'WordPiece', 'Unigram'] as const;

type Fail = (what: string) => FormatError;

/** What of a tokenizer.json is looked at here; the library reads all of it. */
interface TokenizerJson {
  readonly model: Readonly<Record<string, unknown>> & { readonly type: (typeof MODELS)[number] };
  readonly decoder: Readonly<Record<string, unknown>> | null | undefined;
  readonly added_tokens?: readonly { readonly id: number; readonly content: string }[];
}

/** The tokens of a text that have a meaning, as tokenizer_config.json names them. */
export interface NamedTokens {
  readonly bosToken?: string;
  readonly eosToken?: string;
}

/**
 * The tokenizer of a folder's tokenizer.json: byte-level BPE (GPT-2, OPT, Llama 3, Qwen), BPE that
 * falls back to bytes (Llama 2), Unigram, or WordPiece, with what its template puts around a text;
 * around a pair of texts, too, for WordPiece (`[CLS] a [SEP] b [SEP]`, token types 0 and 1). Control
 * tokens written out in a text become their ids. The file's own truncation and padding are left
 * out: they belong to a batch, not to the tokenizer.
 * @param json the file's value
 * @param name what to call the file in messages
 * @throws FormatError `E_TOKENIZER`, naming a model or an option that is not supported or what is
 * malformed
 */
export function tokenizerFromJson(
  json: unknown,
  name: string,
  { bosToken, eosToken }: NamedTokens = {},
): Tokenizer {
  const fail: Fail = (what) => new FormatError(`tokenizer: ${name}: ${what}`, 'E_TOKENIZER');
  const file = expectKnown(json, fail);
  const tokens = vocabularyOf(file, fail);
  // The library takes malformed parts for what they are not, and fails over them later on.
  const attempt = <T>(body: () => T): T => {
    try {
      return body();
    } catch (error) {
      throw fail(`it cannot be read: ${(error as Error).message.replace(/\s+/g, ' ')}`);
    }
  };
  const library = attempt(
    () => new HuggingFaceTokenizer(json as object, { clean_up_tokenization_spaces: false }),
  );
  const known = (id: number): string => {
    const token = tokens[id];
    if (token === undefined) throw fail(`id ${id} is not in the vocabulary of ${tokens.length}`);
    return token;
  };
  const idOf = (token: string | undefined) => {
    const id = token === undefined ? -1 : tokens.indexOf(token);
    return id < 0 ? undefined : id;
  };
  const isWordPiece = file.model.type === 'WordPiece';
  return {
    vocabSize: tokens.length,
    eosTokenId: idOf(eosToken),
    bosTokenId: idOf(bosToken),
    encode: (text) => attempt(() => library.encode(text).ids),
    encodePlain: (text) => attempt(() => library.encode(text, { add_special_tokens: false }).ids),
    ...(isWordPiece && {
      encodePair(text: string, pair: string) {
        // The library takes '' for no second text; a blank is one without tokens.
        const options = { text_pair: pair || ' ', return_token_type_ids: true } as const;
        const { ids, token_type_ids: tokenTypes } = attempt(() => library.encode(text, options));
        return { ids, tokenTypes };
      },
    }),
    ...(isWordPiece ? wordDecoding(library, known) : decodingOf(file, known, fail)),
    token: (id) => tokens[id],
  };
}

/** Words are joined by spaces; the library sets punctuation where whole texts are decoded. */
function wordDecoding(library: HuggingFaceTokenizer, known: (id: number) => string) {
  return {
    decode(ids: Iterable<number>) {
      const list = [...ids];
      list.forEach(known);
      return list.length === 0 ? '' : library.decode(list);
    },
    decodeStream(): DecodeStream {
      let first = true;
      return {
        push(id) {
          const token = known(id);
          const continues = token.startsWith(CONTINUATION);
          const text = continues ? token.slice(CONTINUATION.length) : first ? token : ` ${token}`;
          first = false;
          return text;
        },
        flush: () => '',
      };
    },
  };
}

/** How ids become text, by the file's decoder. */
function decodingOf(
  { decoder, added_tokens: added = [] }: TokenizerJson,
  known: (id: number) => string,
  fail: Fail,
) {
  const parts = decoder?.type === 'Sequence' ? decoder.decoders : [decoder];
  const steps = new Map(
    (Array.isArray(parts) ? parts : []).map((step) => [step?.type as unknown, step]),
  );
  const verbatim = new Map(added.map(({ id, content }) => [id, content]));
  const encoder = new TextEncoder();
  const withAdded = (bytesOf: (token: string) => Uint8Array) => (id: number) => {
    const content = verbatim.get(id);
    return content === undefined ? bytesOf(known(id)) : encoder.encode(content);
  };
  if (steps.has('ByteLevel')) return byteDecoding(withAdded(byteLevelBytes()));
  const unknown = [...steps.keys()].find(
    (type) => !['Metaspace', 'Replace', 'ByteFallback', 'Fuse', 'Strip'].includes(type as string),
  );
  if (unknown !== undefined || !decoder) {
    throw fail(`decoder ${JSON.stringify(unknown ?? null)} is not supported`);
  }
  const replaced = steps.get('Replace');
  if (replaced && (replaced.pattern?.String !== '\u2581' || replaced.content !== ' ')) {
    throw fail('a decoder that replaces something else than U+2581 by a space is not supported');
  }
  const metaspace = steps.get('Metaspace');
  const skipsSpace = metaspace
    ? metaspace.prepend_scheme !== 'never' && metaspace.add_prefix_space !== false
    : steps.has('Strip');
  return byteDecoding(withAdded(metaspaceBytes(steps.has('ByteFallback'))), skipsSpace);
}

/** @throws FormatError for a vocabulary, or an option of it, that the library reads differently */
function expectKnown(json: unknown, fail: Fail): TokenizerJson {
  const model = (json as { model?: unknown } | null)?.model as TokenizerJson['model'] | undefined;
  if (typeof model !== 'object' || model === null) throw fail('model is missing');
  if (!MODELS.includes(model.type)) {
    throw fail(
      `model type ${JSON.stringify(model.type ?? null)} is not supported (${MODELS.join(', ')} are)`,
    );
  }
  const prefix = model.continuing_subword_prefix ?? null;
  const expected = model.type === 'WordPiece' ? CONTINUATION : null;
  if (prefix !== null && prefix !== '' && prefix !== expected) {
    throw fail(`continuing_subword_prefix ${JSON.stringify(prefix)} is not supported`);
  }
  if (model.end_of_word_suffix) {
    throw fail(`end_of_word_suffix ${JSON.stringify(model.end_of_word_suffix)} is not supported`);
  }
  if (model.type === 'Unigram' && model.byte_fallback === true) {
    throw fail('byte_fallback of a Unigram model is not supported');
  }
  return json as TokenizerJson;
}

/** Tokens by id. */
function vocabularyOf({ model, added_tokens: added }: TokenizerJson, fail: Fail): string[] {
  const { vocab } = model;
  const tokens: string[] = [];
  const put = (token: unknown, id: unknown) => {
    if (!Number.isSafeInteger(id) || (id as number) < 0 || (id as number) > 1e7) {
      throw fail(`token ${JSON.stringify(token)} has the id ${JSON.stringify(id)}`);
    }
    if (typeof token !== 'string') throw fail(`id ${id} is ${JSON.stringify(token)}, no token`);
    tokens[id as number] = token;
  };
  if (model.type === 'Unigram') {
    if (!Array.isArray(vocab)) throw fail('model.vocab is no list of pieces');
    vocab.forEach((piece, id) => {
      put(Array.isArray(piece) ? piece[0] : piece, id);
    });
  } else {
    if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab)) {
      throw fail('model.vocab is no object of ids');
    }
    for (const [token, id] of Object.entries(vocab)) put(token, id);
  }
  if (added !== undefined && !Array.isArray(added)) throw fail('added_tokens is no list');
  for (const one of added ?? []) put(one?.content, one?.id);
  return tokens;
}
