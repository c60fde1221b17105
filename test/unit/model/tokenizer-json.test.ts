import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { tokenizerFromJson } from '../../../src/model/index.ts';
import { TINY_TOKENIZER_JSON } from '../../support/tiny-bert.ts';

const EMPTY_BPE = {
  ...TINY_TOKENIZER_JSON,
  post_processor: null,
  model: { type: 'BPE', vocab: {}, merges: [] },
};

describe('tokenizerFromJson', () => {
  const tokenizer = tokenizerFromJson(TINY_TOKENIZER_JSON, 't.json');

  it('puts [CLS] and [SEP] around a text, cuts and pads nothing', () => {
    assert.deepEqual(tokenizer.encode('The GOOD films.'), [2, 8, 4, 6, 7, 9, 3]);
    assert.deepEqual(tokenizer.encodePlain?.('the good films.'), [8, 4, 6, 7, 9]);
    assert.deepEqual(tokenizer.encode(''), [2, 3]);
    assert.deepEqual(tokenizer.encode('héllo 北'), [2, 1, 1, 3]);
    assert.equal(tokenizer.encode('good '.repeat(50)).length, 52);
    assert.equal(tokenizer.vocabSize, 11);
  });

  it('joins a pair with token types, also where a text is empty', () => {
    const pair = (a: string, b: string) => tokenizer.encodePair?.(a, b);
    assert.deepEqual(pair('good', 'bad film'), {
      ids: [2, 4, 3, 5, 6, 3],
      tokenTypes: [0, 0, 0, 1, 1, 1],
    });
    assert.deepEqual(pair('good', ''), { ids: [2, 4, 3, 3], tokenTypes: [0, 0, 0, 1] });
    assert.deepEqual(pair('', ''), { ids: [2, 3, 3], tokenTypes: [0, 0, 1] });
  });

  it('decodes, whole and streamed', () => {
    assert.equal(tokenizer.decode([8, 4, 6, 7]), 'the good films');
    assert.equal(tokenizer.decode([]), '');
    const stream = tokenizer.decodeStream();
    assert.equal(
      [8, 4, 6, 7].map((id) => stream.push(id)).join('') + stream.flush(),
      'the good films',
    );
    assert.equal(tokenizer.token(7), '##s');
    assert.throws(() => tokenizer.decode([11]), { code: 'E_TOKENIZER' });
    assert.throws(() => tokenizer.decodeStream().push(-1), { code: 'E_TOKENIZER' });
  });

  const { model } = TINY_TOKENIZER_JSON;
  const refused: [string, unknown, RegExp][] = [
    ['null', null, /model is missing/],
    ['no model', {}, /model is missing/],
    ['another model', { model: { type: 'WordLevel' } }, /"WordLevel" is not supported/],
    ['no vocabulary', { model: { type: 'WordPiece' } }, /vocab/],
    ['an id that is none', { model: { ...model, vocab: { a: -1 } } }, /"a" has the id -1/],
    ['a vocabulary of words', { model: { type: 'Unigram', vocab: { a: 1 } } }, /no list of pieces/],
    [
      'a piece that is none',
      { model: { type: 'Unigram', vocab: [[1, 2]] } },
      /id 0 is 1, no token/,
    ],
    [
      'bytes beside Unigram',
      { model: { type: 'Unigram', vocab: [], byte_fallback: true } },
      /byte_fallback of a Unigram/,
    ],
    ['ends of words', { model: { type: 'BPE', vocab: {}, end_of_word_suffix: '</w>' } }, /<\/w>/],
    ['no decoder', { ...EMPTY_BPE, decoder: null }, /decoder null/],
    ['another decoder', { ...EMPTY_BPE, decoder: { type: 'CTC' } }, /decoder "CTC"/],
    ['added tokens that are none', { model, added_tokens: [{ id: 3 }] }, /id 3 is undefined/],
    ['other continuations', { model: { ...model, continuing_subword_prefix: '@' } }, /"@"/],
    [
      'an unknown normalizer',
      { ...TINY_TOKENIZER_JSON, normalizer: { type: 'Shout' } },
      /t\.json: it cannot be read: .*Shout/,
    ],
  ];
  for (const [name, json, message] of refused) {
    it(`refuses ${name}`, () => {
      assert.throws(() => tokenizerFromJson(json, 't.json'), { code: 'E_TOKENIZER', message });
    });
  }
});
