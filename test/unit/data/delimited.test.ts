import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRows, parseSamples } from '../../../src/data/index.ts';

const row = (line: number, text: string, label?: string, textPair?: string) => ({
  ...{ text, textPair, label, line },
});

describe('csv', () => {
  it('follows RFC 4180: commas, quotes and line breaks in quotes; CRLF; a byte order mark', () => {
    const source =
      '\ufefflabel,id,text\r\n"a, b",1,"say ""hi"", please"\r\nü✓,2,"two\r\nlines"\r\n\r\n c ,3, x \r\n';
    assert.deepEqual(parseRows(source, 'f.csv'), [
      row(2, 'say "hi", please', 'a, b'),
      row(3, 'two\nlines', 'ü✓'),
      row(6, ' x ', ' c '),
    ]);
  });

  it('needs no line end at the end, no label column for predictions, and may have no rows', () => {
    assert.deepEqual(parseRows('text\na\nb', 'F.CSV'), [row(2, 'a'), row(3, 'b')]);
    assert.deepEqual(parseRows('text,label\n', 'f.csv'), []);
    assert.deepEqual(parseRows('', 'f.csv'), []);
    assert.deepEqual(parseRows('text,label\ra,x\rb,y', 'f.csv'), [
      row(2, 'a', 'x'),
      row(3, 'b', 'y'),
    ]);
  });

  it('keeps an empty second text, which a cell cannot tell from none', () => {
    assert.deepEqual(parseRows('text,text_pair,label\na,,x\n', 'f.csv'), [row(2, 'a', 'x', '')]);
  });

  it('takes the names of columns from outside, exactly as they are written', () => {
    const columns = { text: 'Sentence 1', textPair: '#2', label: '__proto__' };
    const source = 'text,#2,Sentence 1,__proto__\nno,b,a,1\n';
    assert.deepEqual(parseRows(source, 'f.csv', columns), [row(2, 'a', '1', 'b')]);
  });

  const head = 'text,label\n"two\nlines",x\n';
  for (const [what, source, message] of [
    ['no text column', 'a,b\n1,2\n', /f\.csv:1: no column is called "text"; .* has "a", "b"$/],
    ['a column twice', 'text,text,label\n', /f\.csv:1: two columns are called "text"/],
    [
      'too few fields',
      `${head}y\n`,
      /f\.csv:4: has 1 fields, the first line 2; a field with commas/,
    ],
    ['too many', `${head}a, b,x\n`, /f\.csv:4: has 3 fields, the first line 2/],
    ['a lone quote', `${head}say "hi",x\n`, /f\.csv:4: a quote stands inside a field/],
    ['text after a quote', `${head}"a"b,x\n`, /f\.csv:4: text follows a closing quote/],
    ['an open quote', `${head}a,x\n"b,y\nc,z\n`, /f\.csv:5: a quoted field is never closed/],
    ['an empty text', `${head}"",x\n`, /f\.csv:4: "text" is empty/],
    ['an empty label', `${head}a,\n`, /f\.csv:4: "label" is empty/],
    ['no label column', 'text\na\n', /f\.csv:2: "label" is missing; the first line must name/],
    ['a header alone', 'text,label\n', /f\.csv: has no rows; the first line must name the columns/],
    ['nothing', '', /f\.csv: has no rows/],
  ] as const) {
    it(`names file and line of ${what}`, () => {
      assert.throws(() => parseSamples(source, 'f.csv'), { code: 'E_DATA', message });
    });
  }
});

describe('tsv', () => {
  it('has tabs and no quoting, as its media type says', () => {
    const source = 'text\tlabel\r\n"Hello," he said\tx\r\nan open " quote\ty, z\r\n';
    assert.deepEqual(parseRows(source, 'f.tsv'), [
      row(2, '"Hello," he said', 'x'),
      row(3, 'an open " quote', 'y, z'),
    ]);
    assert.throws(() => parseRows(`${source}a\n`, 'f.tsv'), {
      code: 'E_DATA',
      message: 'data: f.tsv:4: has 1 fields, the first line 2',
    });
  });
});

describe('columns of JSON Lines', () => {
  it('are keys', () => {
    const columns = { text: 'q', textPair: 'a', label: 'c' };
    const source = '{"q":"x","a":"y","c":2,"text":"no","label":"no"}\n';
    assert.deepEqual(parseRows(source, 'f.jsonl', columns), [row(1, 'x', '2', 'y')]);
  });

  for (const [what, columns, message] of [
    ['text', { text: 'q' }, /f\.jsonl:1: "q" is missing; .* like \{"q": "\.\.\.", "label"/],
    ['second text', { textPair: 'p' }, /f\.jsonl:1: "p" is missing; .*"p": "\.\.\.", "label"/],
    ['label', { label: 'c' }, /f\.jsonl:1: "c" is missing; .*"text": "\.\.\.", "c": "\.\.\."\}/],
  ] as const) {
    it(`that are named for the ${what} must be there`, () => {
      const source = '{"text":"a","label":"x","p":null}\n';
      assert.throws(() => parseSamples(source, 'f.jsonl', columns), { code: 'E_DATA', message });
    });
  }
});
