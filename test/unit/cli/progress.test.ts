import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  formatBytes,
  formatDuration,
  ProgressLine,
  rateAndEta,
} from '../../../src/cli/progress.ts';

describe('numbers for people', () => {
  it('durations', () => {
    const shown: [number, string][] = [
      [0, '0:00'],
      [0.4, '0:00'],
      [42, '0:42'],
      [59.6, '1:00'],
      [725, '12:05'],
      [3723, '1:02:03'],
      [360_000, '100:00:00'],
      [-1, '0:00'],
      [Number.POSITIVE_INFINITY, '--:--'],
      [Number.NaN, '--:--'],
    ];
    for (const [seconds, text] of shown) assert.equal(formatDuration(seconds), text);
  });

  it('bytes', () => {
    const shown: [number, string][] = [
      [0, '0 B'],
      [999, '999 B'],
      [1000, '1.00 kB'],
      [7350, '7.35 kB'],
      [98_362_432, '98.4 MB'],
      [999_960, '1.00 MB'],
      [2e15, '2000.0 TB'],
    ];
    for (const [bytes, text] of shown) assert.equal(formatBytes(bytes), text);
  });

  it('a rate, and the time that is left at it', () => {
    const { rate, eta } = rateAndEta(30, 120, performance.now() - 10_000);
    assert.ok(Math.abs(rate - 3) < 0.1, `${rate}`);
    assert.equal(eta, '0:30');
    assert.deepEqual(rateAndEta(0, 5, performance.now() - 10_000), { rate: 0, eta: '--:--' });
  });
});

/** A terminal, or a pipe, in a test's hands. */
function output(isTTY: boolean, columns = 20) {
  const written: string[] = [];
  const write = (text: string) => written.push(text) > 0;
  return { written, out: { isTTY, columns, write } as unknown as NodeJS.WriteStream };
}

const WIPE = '\r\u001b[2K';

describe('ProgressLine', () => {
  it('on a terminal redraws one line, no wider than it and not too often', async () => {
    const { written, out } = output(true);
    const line = new ProgressLine({ out });
    line.update(() => 'first');
    line.update(() => assert.fail('it is too early for the next'));
    line.update(() => 'x'.repeat(50), true);
    await sleep(120);
    line.update(() => 'later');
    line.done();
    assert.deepEqual(written, [`${WIPE}first`, `${WIPE}${'x'.repeat(19)}`, `${WIPE}later`, WIPE]);
  });

  it('on a pipe says nothing of what takes a moment, but what is forced, and how it ended', () => {
    const { written, out } = output(false);
    const line = new ProgressLine({ out });
    line.update(() => assert.fail('it is too early'));
    line.update(() => 'now', true);
    line.done('done');
    assert.deepEqual(written, ['now\n', 'done\n']);
  });

  it('is silent when told to be', () => {
    const { written, out } = output(true);
    const line = new ProgressLine({ out, silent: true });
    line.update(() => assert.fail('nobody reads it'), true);
    line.done('done');
    assert.deepEqual(written, []);
  });
});
