import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testName } from '../../../../src/cli/bench-report.ts';
import { type BenchFlags, lengths, planTests } from '../../../../src/cli/commands/bench.ts';

const DECODER = {
  architecture: 'llama',
  family: 'decoder',
  layers: 8,
  contextLength: 600,
} as const;
const ENCODER = { ...DECODER, architecture: 'bert', family: 'encoder' } as const;

const namesOf = (flags: BenchFlags, model: Parameters<typeof planTests>[1] = DECODER) =>
  planTests(flags, model).map(testName);

const usage = (message: RegExp) => ({ code: 'E_USAGE', message });

test('lengths are whole numbers, and zeros are none', () => {
  assert.deepEqual(lengths('128,512'), [128, 512]);
  assert.deepEqual(lengths('0'), []);
  assert.deepEqual(lengths('0,4'), [4]);
  for (const text of ['', 'a', '1,', '1.5', '-1', '1e400']) {
    assert.throws(() => lengths(text), /whole numbers/, text);
  }
});

test('prompts come first, then tokens; an encoder makes none', () => {
  assert.deepEqual(namesOf({ prompt: [128, 512] }), ['pp128', 'pp512', 'tg64']);
  assert.deepEqual(namesOf({ prompt: [], gen: [8, 16] }), ['tg8', 'tg16']);
  assert.deepEqual(namesOf({ prompt: [128], gen: [] }), ['pp128']);
  assert.deepEqual(namesOf({ prompt: [128] }, ENCODER), ['pp128']);
  assert.throws(() => namesOf({ prompt: [128], gen: [8] }, ENCODER), usage(/^-n: bert is an enc/));
});

test('a training batch has 8 samples unless told, and what train sends by default', () => {
  assert.deepEqual(namesOf({ prompt: [16], deviceStep: true }, ENCODER), ['step8x16']);
  const [step] = planTests({ prompt: [16], deviceStep: true, batchSize: 2 }, DECODER);
  assert.equal(testName(step), 'step2x16');
  assert.deepEqual(step.taps, { layers: [2, 4, 6, 8], kinds: ['last', 'mean'], bits: 4 });
});

test('what does not go together, or into the context, is refused by name', () => {
  const cases: [BenchFlags, RegExp][] = [
    [{ prompt: [601] }, /^-p: 601 tokens exceed the model's context of 600$/],
    [{ prompt: [1], gen: [601] }, /^-n: 601 tokens exceed/],
    [{ prompt: [], gen: [] }, /^-p: nothing is left/],
    [{ prompt: [], deviceStep: true }, /^-p: nothing is left/],
    [{ prompt: [1], deviceStep: true, gen: [4] }, /^-n: a training batch makes no tokens/],
    [{ prompt: [1], batchSize: 4 }, /^-b: .*--device-step/],
  ];
  for (const [flags, message] of cases) assert.throws(() => namesOf(flags), usage(message));
  assert.throws(() => namesOf({ prompt: [] }, ENCODER), usage(/^-p: nothing is left/));
});
