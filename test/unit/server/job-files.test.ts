import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import type { ReceivedBatch } from '../../../src/server/index.ts';
import { RowLog } from '../../../src/server/row-log.ts';
import { readSealed, writeSealed } from '../../../src/server/sealed-file.ts';
import { hasCode } from '../../support/transport.ts';

const folder = mkdtempSync(join(tmpdir(), 'mobillm-job-files-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;
const newPath = () => join(folder, `file-${files++}`);

/** A file with one of its bytes changed. */
function damage(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] ^= 1;
  writeFileSync(path, bytes);
}

describe('a sealed file', () => {
  const value = {
    numbers: [0.1, -0, Number.NaN, Number.POSITIVE_INFINITY],
    tree: new Map([['head.weight', { shape: [1, 2], values: Float32Array.of(1e-40, -0) }]]),
    none: undefined,
  };

  it('gives back every number to the bit', () => {
    const path = newPath();
    writeSealed(path, 'checkpoint', value);
    assert.deepEqual(readSealed(path, 'checkpoint'), value);
    writeSealed(path, 'checkpoint', [1]);
    assert.deepEqual(readSealed(path, 'checkpoint'), [1]);
    assert.ok(readdirSync(folder).every((name) => !name.includes('tmp')));
  });

  it('that is cut or damaged anywhere, of another kind or form, is refused', () => {
    const path = newPath();
    const refused = (text: RegExp) =>
      assert.throws(() => readSealed(path, 'checkpoint'), hasCode('E_STATE', text));
    writeSealed(path, 'checkpoint', value);
    const whole = readFileSync(path);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.boolean(), (at, cut) => {
        writeFileSync(path, cut ? whole.subarray(0, at) : whole);
        if (!cut) damage(path, at);
        refused(/./);
      }),
    );
    writeFileSync(path, whole.subarray(0, -1));
    refused(/cut short: \d+ of \d+ bytes/);
    writeFileSync(path, whole);
    damage(path, whole.length - 1);
    refused(/SHA-256 is another/);
    writeSealed(path, 'job', value);
    refused(/holds a job where a checkpoint is wanted/);
    writeFileSync(path, whole.toString('latin1').replace('state 1', 'state 2'), 'latin1');
    refused(/form 2, this release reads 1/);
    rmSync(path);
    assert.throws(() => readSealed(path, 'checkpoint'), hasCode('E_NOT_FOUND'));
  });
});

describe('a row log', () => {
  const batches: ReceivedBatch[] = [3, 1, 2].map((count, i) => ({
    split: i < 2 ? 'train' : 'valid',
    rows: Array.from({ length: count }, (_, row) => 10 * i + row),
    labels: Array.from({ length: count }, (_, row) => row),
    taps: [new Uint8Array(5 * count).fill(i), new Uint8Array(5 * count).fill(9)],
  }));

  function open(path: string): { log: RowLog; found: ReceivedBatch[] } {
    const found: ReceivedBatch[] = [];
    return { log: new RowLog(path, (batch) => found.push(batch)), found };
  }

  function write(path: string): void {
    const { log } = open(path);
    for (const batch of batches) log.append(batch);
    log.sync();
    log.close();
  }

  const plain = (found: readonly ReceivedBatch[]) =>
    found.map((batch) => ({ ...batch, taps: batch.taps.map((bytes) => new Uint8Array(bytes)) }));

  it('gives back what was appended, over several lives', () => {
    const path = newPath();
    for (const [i, batch] of batches.entries()) {
      const { log, found } = open(path);
      assert.deepEqual(plain(found), batches.slice(0, i));
      log.append(batch);
      assert.equal(log.batches, i + 1);
      log.close();
    }
    const { log, found } = open(path);
    assert.deepEqual(plain(found), batches);
    log.close();
  });

  it('cut anywhere, keeps the whole batches and can be appended to', () => {
    const path = newPath();
    write(path);
    const whole = readFileSync(path);
    fc.assert(
      fc.property(fc.nat(whole.length), (length) => {
        writeFileSync(path, whole);
        truncateSync(path, length);
        const first = open(path);
        const { batches: kept } = first.log;
        assert.deepEqual(plain(first.found), batches.slice(0, kept));
        for (const batch of batches.slice(kept)) first.log.append(batch);
        first.log.close();
        assert.deepEqual(readFileSync(path), whole);
      }),
    );
  });

  it('damaged before its last batch is refused; a last batch of garbage is cut away', () => {
    const path = newPath();
    write(path);
    const { length } = readFileSync(path);
    damage(path, 60);
    assert.throws(() => open(path), hasCode('E_STATE', /batch 0 is damaged/));
    damage(path, 60);
    damage(path, length - 1);
    const { log, found } = open(path);
    assert.deepEqual(plain(found), batches.slice(0, 2));
    log.close();
    appendFileSync(path, 'x'.repeat(100));
    assert.throws(() => open(path), hasCode('E_STATE', /batch 2 is damaged/));
  });
});
