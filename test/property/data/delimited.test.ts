import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRows } from '../../../src/data/index.ts';
import { FormatError } from '../../../src/tensor/errors.ts';

/** What quoting is about, often. */
const character = fc.oneof(
  fc.constantFrom('"', ',', '\n', '\t', ' ', '\ufeff', "'", '\\', 'a'),
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
);
const cell = fc
  .array(character, { minLength: 1, maxLength: 8 })
  .map((characters) => characters.join('').replaceAll('\r', ''))
  .filter((text) => text.trim() !== '');

const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;

test('csv: whatever is quoted comes back, with the line it begins at', () => {
  const rows = fc.array(fc.record({ text: cell, label: cell }), { maxLength: 6 });
  fc.assert(
    fc.property(rows, fc.constantFrom('\n', '\r\n'), fc.boolean(), (written, end, mark) => {
      const lines = written.map(({ text, label }) => `${quoted(text)},${quoted(label)}${end}`);
      const source = `${mark ? '\ufeff' : ''}text,label${end}${lines.join('')}`;
      let line = 2;
      const expected = written.map(({ text, label }) => {
        const row = { text, textPair: undefined, label, line };
        line += `${text}${label}`.split('\n').length;
        return row;
      });
      assert.deepEqual(parseRows(source, 'f.csv'), expected);
    }),
    { numRuns: 300 },
  );
});

test('csv and tsv: any text gives rows or an E_DATA that names file and line', () => {
  const source = fc.array(character, { maxLength: 40 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(source, fc.constantFrom('f.csv', 'f.tsv'), fc.boolean(), (text, file, header) => {
      const start = file === 'f.csv' ? 'text,label\n' : 'text\tlabel\n';
      try {
        parseRows(header ? `${start}${text}` : text, file);
      } catch (error) {
        assert.ok(error instanceof FormatError, `untyped: ${error}`);
        assert.equal(error.code, 'E_DATA');
        assert.match(error.message, /^data: f\.[ct]sv:\d+: /);
      }
    }),
    { numRuns: 600 },
  );
});
