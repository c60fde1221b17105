import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRows, parseSamples } from '../../../src/data/index.ts';

describe('parseRows', () => {
  it('takes a byte order mark, CRLF, blank lines, other keys and any plain label', () => {
    const source =
      '\ufeff{"text":"a","label":"x"}\r\n{"text":"b","text_pair":"c","label":3,"id":9}\r\n' +
      '{"text":"d","label":false}\n\n  \n{"text":"e\u2028f","text_pair":null}\n\n';
    assert.deepEqual(parseRows(source, 'f.jsonl'), [
      { text: 'a', textPair: undefined, label: 'x', line: 1 },
      { text: 'b', textPair: 'c', label: '3', line: 2 },
      { text: 'd', textPair: undefined, label: 'false', line: 3 },
      { text: 'e\u2028f', textPair: undefined, label: undefined, line: 6 },
    ]);
    assert.deepEqual(parseRows('', 'f.jsonl'), []);
  });

  const good = '{"text":"a","label":"x"}\n';
  for (const [what, line, message] of [
    [
      'broken JSON',
      '{"text": "a", "label": ',
      /f\.jsonl:2: is not JSON: .*one object like \{"text"/,
    ],
    ['a JSON array', '[', /JSON array\? Write its objects one a line/],
    ['a list', '["a", "x"]', /f\.jsonl:2: is an array; every line/],
    ['a number', '7', /is a number/],
    ['null', 'null', /is null/],
    ['no text', '{"label": "x"}', /f\.jsonl:2: "text" is missing/],
    [
      'a prompt',
      '{"prompt": "p", "completion": "c"}',
      /is a prompt with its completion, which has no class to learn; use --task lm$/,
    ],
    [
      'a text that is a number',
      '{"text": 5, "label": "x"}',
      /"text" must be a string, it is a number/,
    ],
    [
      'a pair that is an array',
      '{"text": "a", "text_pair": [], "label": 1}',
      /"text_pair" must be/,
    ],
    [
      'a label that is an object',
      '{"text": "a", "label": {}}',
      /"label" must be a string, a number/,
    ],
    ['an infinite label', '{"text": "a", "label": 1e999}', /"label" must be/],
    ['an empty text', '{"text": " ", "label": "x"}', /"text" is empty/],
    ['an empty label', '{"text": "a", "label": ""}', /"label" is empty/],
    ['no label', '{"text": "a"}', /f\.jsonl:2: "label" is missing/],
  ] as const) {
    it(`names file and line of ${what}`, () => {
      assert.throws(() => parseSamples(`${good}${line}\n`, 'f.jsonl'), { code: 'E_DATA', message });
    });
  }

  it('wants at least one sample', () => {
    assert.throws(() => parseSamples('\n\n', 'f.jsonl'), {
      code: 'E_DATA',
      message: /has no rows/,
    });
  });
});
