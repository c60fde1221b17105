import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { confusionSvg } from '../../../src/cli/confusion-svg.ts';
import { confusionText, oneLine, scoresLine } from '../../../src/cli/metrics-text.ts';
import { classificationScores, confusionCells } from '../../../src/data/index.ts';

const LABELS = ['fruit, ripe', 'Gemüse 🥕', '<b> & "x"\u0007'];
const TRUTH = [0, 0, 0, 1, 1, 2];
const GUESSES = [0, 0, 1, 1, 2, 2];
const cells = confusionCells(TRUTH, GUESSES);
const scores = classificationScores(TRUTH, GUESSES, 3);

/** Fails unless every element is closed in turn and nothing is left unescaped. */
function assertWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [tag, closing, name, selfClosing] of svg.matchAll(
    /<(\/?)([a-z]+)(?: [a-z-]+="[^"<>]*"| [a-zA-Z]+="[^"<>]*")*(\/?)>/g,
  )) {
    if (closing) assert.equal(open.pop(), name, tag);
    else if (!selfClosing) open.push(name);
  }
  assert.deepEqual(open, []);
  const text = svg.replace(/<\/?[a-zA-Z]+(?: [a-zA-Z-]+="[^"<>]*")*\/?>/g, '');
  assert.doesNotMatch(text, /[<>]|&(?!amp;|lt;|gt;|quot;)/);
}

describe('confusionSvg', () => {
  it('draws a cell for every confusion, with names escaped', () => {
    const svg = confusionSvg(LABELS, cells, scores, 'adapter <1>, test');
    assertWellFormed(svg);
    assert.equal(svg.match(/<rect [^>]*><title>/g)?.length, cells.length);
    assert.ok(svg.includes('<title>fruit, ripe predicted as Gemüse 🥕: 1 of 3</title>'));
    assert.ok(svg.includes('&lt;b&gt; &amp; &quot;x&quot;\ufffd'));
    assert.ok(svg.includes('accuracy 66.7% of 6, macro-F1 0.656'), svg);
    assert.ok(svg.includes('adapter &lt;1&gt;, test'));
  });

  it('leaves figures out where cells are small', () => {
    const labels = Array.from({ length: 77 }, (_, i) => `a rather long name of an intent, ${i}`);
    const truth = labels.map((_, i) => i);
    const many = confusionSvg(
      labels,
      confusionCells(truth, truth),
      classificationScores(truth, truth, 77),
      'intents',
    );
    assertWellFormed(many);
    assert.doesNotMatch(many, /dominant-baseline="central"/);
    assert.match(many, />a rather long name of an inte\.\.\.</);
  });
});

describe('confusionText', () => {
  it('is the matrix where classes are few', () => {
    const text = confusionText(LABELS, cells);
    assert.match(text, /│ label \\ predicted │ fruit, ripe │ Gemüse 🥕 │ <b> & "x"\\u\{7\} │/);
    assert.match(text, /│ fruit, ripe +│ +2 │ +1 │ +0 │/);
  });

  it('lists what is confused most where they are many', () => {
    const labels = Array.from({ length: 30 }, (_, i) => `class ${i}`);
    const truth = Array.from({ length: 90 }, (_, i) => i % 30);
    const guesses = truth.map((label, i) => (label === 4 || i < 12 ? (label + 1) % 30 : label));
    const text = confusionText(labels, confusionCells(truth, guesses));
    assert.match(text, /^confused most:\n/);
    assert.match(text, /│ class 4 +│ class 5 +│ +3 │\n/);
    assert.match(text, /and 2 pairs more$/);
    assert.equal(confusionText(labels, confusionCells(truth, truth)), 'nothing was confused');
  });
});

it('scores in one line', () => {
  assert.equal(scoresLine(scores), 'accuracy 66.7% (4 of 6), macro-F1 0.656, Matthews 0.522');
  assert.equal(oneLine('a\nb\u001b[1m'), 'a\\nb\\u{1b}[1m');
});
