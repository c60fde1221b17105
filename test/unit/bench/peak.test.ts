import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allPeaks, bandwidthAt, LARGEST_FOOTPRINT, peakOf } from '../../../bench/peak.ts';
import { hasRelaxedSimd } from '../../../src/tensor/backends/wasm/features.ts';

test('every arithmetic of this engine has a ceiling, which is measured once', () => {
  const peaks = allPeaks();
  assert.equal(peaks.size, hasRelaxedSimd() ? 6 : 2);
  for (const [name, gops] of peaks) {
    // A processor at 100 MHz with one lane gives more, one at 10 GHz with 4 units of 32 products less.
    assert.ok(gops > 0.1 && gops < 10_000, `${name}: ${gops} GOP/s`);
    assert.equal(peakOf(name), gops);
  }
});

test('bandwidth is that of the power of two above, and ends at the largest footprint', () => {
  const small = bandwidthAt(200_000);
  assert.ok(small > 0.01 && small < 100_000);
  assert.equal(bandwidthAt(2 ** 18), small);
  assert.equal(bandwidthAt(0), bandwidthAt(1));
  assert.equal(bandwidthAt(2 * LARGEST_FOOTPRINT), bandwidthAt(LARGEST_FOOTPRINT));
});
