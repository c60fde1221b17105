import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  checkTemplate,
  renderSegments,
  renderTemplate,
  unescapeTemplate,
} from '../../../src/data/index.ts';

const values = { text: 'A {labels}', textPair: 'B', labels: ['x', 'y'] };

describe('renderTemplate', () => {
  it('fills placeholders once, and keeps doubled braces as braces', () => {
    assert.equal(
      renderTemplate('{text}|{text_pair}|{labels}|{{text}}|{{{text}}}', values),
      'A {labels}|B|x, y|{text}|{A {labels}}',
    );
    assert.equal(renderTemplate('', values), '');
  });

  for (const [template, message] of [
    ['{text} {txt}', /\{txt\} is unknown; placeholders are \{text\}, \{text_pair\}, \{labels\}/],
    ['{text} { x', /lone "\{" at character 8, write "\{\{"/],
    ['{text} }', /lone "\}" at character 8/],
    ['{}', /\{\} is unknown/],
    ['{toString}', /\{toString\} is unknown/],
  ] as const) {
    it(`refuses ${template}`, () => {
      assert.throws(() => renderTemplate(template, values), { code: 'E_TEMPLATE', message });
      assert.throws(() => checkTemplate(template, false), { code: 'E_TEMPLATE' });
    });
  }

  it('refuses a pair that is not there', () => {
    const alone = { text: 'a', labels: [] };
    assert.throws(() => renderTemplate('{text_pair}', alone), { code: 'E_TEMPLATE' });
  });
});

describe('renderSegments', () => {
  it('gives one text, or two around {sep}', () => {
    assert.deepEqual(renderSegments('{text} {{sep}}', values), ['A {labels} {sep}']);
    assert.deepEqual(renderSegments('{text}{sep}Is it {text_pair}?', values), [
      'A {labels}',
      'Is it B?',
    ]);
    assert.deepEqual(renderSegments('{sep}', values), ['', '']);
  });

  it('refuses a second {sep}, and any where one text is read', () => {
    const twice = '{text}{sep}{sep}';
    assert.throws(() => renderSegments(twice, values), { code: 'E_TEMPLATE', message: /twice/ });
    assert.throws(() => checkTemplate(twice, false), { code: 'E_TEMPLATE', message: /twice/ });
    const pair = '{text}{sep}{text_pair}';
    assert.throws(() => renderTemplate(pair, values), { code: 'E_TEMPLATE', message: /one text/ });
    assert.throws(() => checkTemplate(pair, true, false), { message: /one text/ });
    checkTemplate(pair, true, true);
  });
});

describe('checkTemplate', () => {
  it('holds the template against the data', () => {
    checkTemplate('{text}\nCategory ({labels}):', false);
    checkTemplate('{text} / {text_pair}', true);
    assert.throws(() => checkTemplate('{labels}', false), /\{text\} is missing/);
    assert.throws(() => checkTemplate('{text}', true), /\{text_pair\} is missing/);
    assert.throws(() => checkTemplate('{text}{text_pair}', false), /rows have no text_pair/);
  });
});

describe('unescapeTemplate', () => {
  it('reads what a shell leaves as typed', () => {
    assert.equal(unescapeTemplate('a\\nb\\tc\\\\n\\x'), 'a\nb\tc\\n\\x');
  });
});
