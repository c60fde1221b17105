import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TrainProgress } from '../../../src/cli/train-progress.ts';
import { TRAINING_OPTIONS } from '../../support/training.ts';

/** Longer than two lines on a terminal are apart, in ms. */
const REDRAWN = 120;

it('scoring test rows shows how far it is, how fast, and when it ends', async () => {
  const written: string[] = [];
  const write = (text: string) => written.push(text) > 0;
  const out = { isTTY: true, columns: 200, write } as unknown as NodeJS.WriteStream;
  const progress = new TrainProgress({
    ...{ quiet: false, options: TRAINING_OPTIONS, rows: 8, server: 'wasm', task: 'lm' },
    out,
  });
  const started = performance.now() - 10_000;
  progress.onScored(0, 120, started);
  await sleep(REDRAWN);
  progress.onScored(30, 120, started);
  progress.done();
  assert.match(written[0], /device: perplexity of 0\/120 test rows, 0\.0\/s, ETA --:--/);
  assert.match(written[1], /device: perplexity of 30\/120 test rows, [23]\.\d\/s, ETA 0:3\d/);
});
