import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { answerIn } from '../../../src/cli/evaluate-lm.ts';
import { StopStrings } from '../../../src/cli/stop-strings.ts';

function shown(pieces: readonly string[], stops: readonly string[]): string {
  const finder = new StopStrings(stops);
  return pieces.map((piece) => finder.push(piece)).join('') + finder.flush();
}

describe('stop strings', () => {
  it('end a text before the first of them, over pieces too', () => {
    assert.equal(shown(['one\n', '\ntwo'], ['\n\n']), 'one');
    assert.equal(shown(['a#', '#', '#b'], ['###', 'b']), 'a');
    assert.equal(shown(['a#', '#c'], ['###']), 'a##c');
    assert.equal(shown(['abc'], []), 'abc');
  });

  it('show the same however a text is cut', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '#') });
    const stop = fc.string({ unit: fc.constantFrom('a', '#'), minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(text), fc.array(stop, { maxLength: 2 }), (pieces, stops) => {
        const whole = pieces.join('');
        const places = stops.map((one) => whole.indexOf(one)).filter((at) => at >= 0);
        const end = places.length > 0 ? Math.min(...places) : whole.length;
        // A longer stop that begins earlier may end later: what is shown never passes the first.
        const out = shown(pieces, stops);
        assert.ok(whole.startsWith(out) && out.length <= whole.length);
        if (stops.length < 2) assert.equal(out, whole.slice(0, end));
      }),
    );
  });
});

it('an answer is what a pattern finds last: its last group, or all', () => {
  assert.equal(answerIn('#### 1\n#### 72 ', /#### (.+)/g), '72');
  assert.equal(answerIn('1 and 2', /\d/g), '2');
  assert.equal(answerIn('none', /\d/g), undefined);
});
