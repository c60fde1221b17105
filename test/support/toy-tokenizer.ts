import type { Tokenizer } from '../../src/model/index.ts';

/** ' ' to '~' are 0 to 94, a line break 95; 96 ends a text. Fits `TINY`'s vocabulary of 97. */
const FIRST = 32;
const BREAK = 95;
const END = 96;

/** A token a character: what the ids of a text are can be read off. Other characters have none. */
export const toyTokenizer: Tokenizer = {
  vocabSize: 97,
  eosTokenId: END,
  bosTokenId: undefined,
  encode: (text) =>
    Array.from(text, (c) => (c === '\n' ? BREAK : c.charCodeAt(0) - FIRST)).filter(
      (id) => id >= 0 && id <= BREAK,
    ),
  decode: (ids) => Array.from(ids, (id) => toyTokenizer.token(id)).join(''),
  decodeStream: () => ({ push: (id) => toyTokenizer.token(id) ?? '', flush: () => '' }),
  token: (id) => (id === BREAK ? '\n' : id === END ? '\u0003' : String.fromCharCode(id + FIRST)),
};
