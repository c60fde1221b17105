import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkTemplate, renderTemplate, unescapeTemplate } from '../../../src/data/index.ts';

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
