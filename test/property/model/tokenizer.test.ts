import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { StringTable } from '../../../src/model/string-table.ts';
import { tokenizerFromGguf } from '../../../src/model/tokenizer.ts';
import type { GgufValue } from '../../../src/model/weights/gguf.ts';

/** Characters of the 256 bytes, as byte-level vocabularies spell them (GPT-2's encoder.py). */
function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const plain = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte < 0xad) || byte > 0xad;
    return String.fromCharCode(plain ? byte : next++);
  });
}

const bytes = byteCharacters();
const tokenizer = tokenizerFromGguf(
  new Map<string, GgufValue>([
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'smollm'],
    ['tokenizer.ggml.tokens', StringTable.of([...bytes, 'th', 'the', 'Ġthe', 'Ġ1'])],
    ['tokenizer.ggml.merges', StringTable.of(['t h', 'th e', 'Ġ the', 'Ġ 1'])],
  ]),
);

describe('tokenizer over all bytes', () => {
  // Well-formed text only: a lone surrogate has no UTF-8 to come back from.
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({
      unit: fc.constantFrom('t', 'h', 'e', ' ', '1', '\n', "'s", 'é', '👩‍🔬', '\ufeff'),
    }),
  );

  it('decode(encode(x)) = x for any text', () => {
    fc.assert(
      fc.property(text, (x) => assert.equal(tokenizer.decode(tokenizer.encode(x)), x)),
      { numRuns: 500 },
    );
  });

  it('streams any ids to the same text as at once, and never half a character', () => {
    const ids = fc.array(fc.nat(tokenizer.vocabSize - 1));
    fc.assert(
      fc.property(ids, (list) => {
        const stream = tokenizer.decodeStream();
        const pieces = [...list.map(stream.push), stream.flush()];
        assert.equal(pieces.join(''), tokenizer.decode(list));
        assert.ok(pieces.every((piece) => piece.isWellFormed()));
      }),
    );
    fc.assert(
      fc.property(text, (x) => {
        const stream = tokenizer.decodeStream();
        const shown = tokenizer.encode(x).map(stream.push).join('');
        assert.equal(shown, x);
        assert.equal(stream.flush(), '');
      }),
    );
  });
});
