import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { FormatError } from '../tensor/errors.ts';
import type { DecodeStream, Tokenizer } from './tokenizer.ts';

/** Marks a token that continues a word. */
const CONTINUATION = '##';

interface WordPieceModel {
  readonly vocab: Readonly<Record<string, number>>;
}

/**
 * The tokenizer of a folder's tokenizer.json: WordPiece, with what its template puts around a text
 * or a pair of texts (`[CLS] a [SEP] b [SEP]`, token types 0 and 1). Control tokens written out in
 * a text become their ids. The file's own truncation and padding are left out: they belong to a
 * batch, not to the tokenizer.
 * @param json the file's value
 * @param name what to call the file in messages
 * @throws FormatError `E_TOKENIZER`, naming a model that is not supported or what is malformed
 */
export function tokenizerFromJson(json: unknown, name: string): Tokenizer {
  const fail = (what: string) => new FormatError(`tokenizer: ${name}: ${what}`, 'E_TOKENIZER');
  const { vocab } = expectWordPiece(json, fail);
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(vocab)) {
    if (!Number.isSafeInteger(id) || id < 0 || id > 1e7) {
      throw fail(`token ${JSON.stringify(token)} has the id ${JSON.stringify(id)}`);
    }
    tokens[id] = token;
  }
  let library: HuggingFaceTokenizer;
  try {
    library = new HuggingFaceTokenizer(json as object, {});
  } catch (error) {
    throw fail(`it cannot be read: ${(error as Error).message.replace(/\s+/g, ' ')}`);
  }
  const known = (id: number): string => {
    const token = tokens[id];
    if (token === undefined) throw fail(`id ${id} is not in the vocabulary of ${tokens.length}`);
    return token;
  };
  const decodeStream = (): DecodeStream => {
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
  };
  return {
    vocabSize: tokens.length,
    eosTokenId: undefined,
    bosTokenId: undefined,
    encode: (text) => library.encode(text).ids,
    encodePlain: (text) => library.encode(text, { add_special_tokens: false }).ids,
    encodePair(text, pair) {
      // The library takes '' for no second text; a blank is one without tokens.
      const { ids, token_type_ids: tokenTypes } = library.encode(text, {
        text_pair: pair || ' ',
        return_token_type_ids: true,
      });
      return { ids, tokenTypes };
    },
    decode(ids) {
      const list = [...ids];
      list.forEach(known);
      return list.length === 0 ? '' : library.decode(list);
    },
    decodeStream,
    token: (id) => tokens[id],
  };
}

function expectWordPiece(json: unknown, fail: (what: string) => FormatError): WordPieceModel {
  const model = (json as { model?: unknown } | null)?.model as
    | { type?: unknown; vocab?: unknown; continuing_subword_prefix?: unknown }
    | undefined;
  if (typeof model !== 'object' || model === null) throw fail('model is missing');
  if (model.type !== 'WordPiece') {
    throw fail(`model type ${JSON.stringify(model.type ?? null)} is not supported (WordPiece is)`);
  }
  const prefix = model.continuing_subword_prefix ?? CONTINUATION;
  if (prefix !== CONTINUATION) {
    throw fail(`continuing_subword_prefix ${JSON.stringify(prefix)} is not supported`);
  }
  const { vocab } = model;
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab)) {
    throw fail('model.vocab is no object of ids');
  }
  return { vocab: vocab as Record<string, number> };
}
