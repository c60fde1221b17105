import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { reportsOf } from '../support/browser-page.ts';
import { findChromium } from '../support/chromium.ts';

/*
 * Threads in a headless Chromium: a page with COOP and COEP has them, and they give the bits of one;
 * a page without falls back to one and says so.
 */

type Report =
  | { readonly kind: 'page'; readonly isolated: boolean; readonly description: string }
  | {
      readonly kind: 'computed';
      readonly name: string;
      readonly equal: boolean;
      readonly helped: number;
    };

const PAGE = 'test/browser/page/threads.ts';

const chromium = findChromium();
const skip = chromium ? false : 'there is no Chromium here (chromium, or $CHROMIUM)';

describe('threads in a browser', { skip }, () => {
  for (const isolated of [true, false]) {
    test(isolated ? 'with COOP and COEP' : 'without these headers', async () => {
      const reports = await reportsOf<Report>(chromium as string, PAGE, {}, { isolated });
      const failed = reports.find(({ kind }) => kind === 'failed');
      assert.equal(failed, undefined, JSON.stringify(failed));
      const page = reports.find((report) => report.kind === 'page');
      const opened = reports.find((report) => report.kind === 'opened');
      assert.ok(page && opened);
      assert.equal(page.isolated, isolated);
      if (isolated) {
        assert.match(opened.description, /^wasm \((relaxed|simd128), 3 threads\)$/);
        assert.match(
          page.description,
          /, 1 thread: a page's main thread may not wait for others\)$/,
        );
      } else {
        const missing =
          /, 1 thread: no SharedArrayBuffer here \(a page needs the headers COOP and COEP\)\)$/;
        assert.match(opened.description, missing);
        assert.match(page.description, missing);
      }
      const computed = reports.filter((report) => report.kind === 'computed');
      assert.equal(computed.length, 7);
      for (const { name, equal, helped } of computed) {
        assert.ok(equal, `${name}: other bits`);
        if (isolated) assert.ok(helped > 0, `${name}: no other thread took a part`);
      }
    });
  }
});
