import assert from 'node:assert/strict';
import { it } from 'node:test';
import { type PreparedJob, surveyJob } from '../../../src/cli/prepare-job.ts';
import type { Sample } from '../../../src/data/index.ts';

const row = (text: string): Sample => ({ text, label: `${text}!` });

it('trains a language model on no row that stands in front, nor on one without a token in the loss', async () => {
  const train = ['a', 'b', '', 'c', 'd'].map(row);
  const valid = [row('v')];
  const job = {
    data: { task: 'lm', shape: 'prompt', folder: 'here', labels: [], train, valid },
    shots: [train[1], train[3]],
    train: [train[0], train[2], train[4]],
  } as unknown as PreparedJob;
  const { job: left, lossTokens } = await surveyJob(job, (samples) => {
    const counts = samples.map(({ text }) => 2 * text.length);
    const tokens = counts.reduce((sum, count) => sum + count, 0);
    const { length } = samples;
    return { samples: length, tokens, longest: 2, truncated: 0, lossTokens: counts };
  });
  assert.deepEqual(
    left.train.map(({ text }) => text),
    ['a', 'd'],
  );
  assert.deepEqual(left.data.train, left.train);
  assert.deepEqual(lossTokens, { train: [2, 2], valid: [2] });
});
