import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reportsOf } from '../support/browser-page.ts';
import { findChromium } from '../support/chromium.ts';

/*
 * A backbone in a headless Chromium whose weights stay in a file of the origin's private file system.
 */

interface Report {
  readonly kind: 'ran';
  readonly precision: string;
  readonly equal: boolean;
  /** Bytes of weights in memory. */
  readonly held: number;
  readonly all: number;
}

const PAGE = 'test/browser/page/weight-stream.ts';

const chromium = findChromium();
const skip = chromium ? false : 'there is no Chromium here (chromium, or $CHROMIUM)';

describe('streamed weights in a browser', { skip }, () => {
  test('the bits of weights in memory, in the bytes of a layer', async () => {
    const reports = await reportsOf<Report>(chromium as string, PAGE, {});
    const end = reports.at(-1);
    assert.deepEqual(end, { kind: 'done', left: 0 });
    const runs = reports.filter((report) => report.kind === 'ran');
    assert.deepEqual(
      runs.map(({ precision, equal }) => [precision, equal]),
      [
        ['int8', true],
        ['int4', true],
      ],
    );
    for (const { held, all } of runs) assert.ok(held < all / 3, `${held} of ${all} bytes held`);
  });
});
