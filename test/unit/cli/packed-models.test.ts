import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import { loadPacked, type PackMode, packedPath } from '../../../src/cli/packed-models.ts';
import type { WeightSource } from '../../../src/model/index.ts';
import { cpuBackend } from '../../../src/tensor/index.ts';
import { tinyFolder } from '../../support/tiny-models.ts';

const home = mkdtempSync(join(tmpdir(), 'mobillm-packed-'));
const saved = process.env.MOBILLM_HOME;
process.env.MOBILLM_HOME = home;
after(() => {
  if (saved === undefined) delete process.env.MOBILLM_HOME;
  else process.env.MOBILLM_HOME = saved;
  rmSync(home, { recursive: true, force: true });
});

const fingerprint = 'e'.repeat(64);
const path = packedPath({ fingerprint, precision: 'int8' });

/** Loads a tiny Llama; `reads` counts what was read out of its own file. */
async function load(mode: PackMode, change: (weights: WeightSource) => WeightSource = (w) => w) {
  const { model, close } = await openModelPath(tinyFolder('llama').path);
  const backend = cpuBackend();
  let reads = 0;
  try {
    const weights = model.weights(fingerprint);
    const matrix: WeightSource['matrix'] = (...args) => {
      reads++;
      return weights.matrix(...args);
    };
    const source = change({ ...weights, matrix });
    const options = { precision: 'int8', backend, mode } as const;
    const { backbone, packed } = await loadPacked(model, source, options);
    backbone.dispose();
    return { ...packed, reads };
  } finally {
    await close();
    assert.equal(backend.memory().allocations, 0);
  }
}

const files = () => readdirSync(dirname(path));

describe('packed weights in the cache', () => {
  it('are written, then read, and never touched where that is not wanted', async () => {
    assert.equal((await load('auto')).state, 'unused', 'too small to be packed unasked');
    const written = await load('always');
    assert.deepEqual([written.state, written.path, files().length], ['written', path, 1]);
    assert.ok(written.reads > 0);
    for (const mode of ['always', 'auto'] as const) {
      const read = await load(mode);
      assert.deepEqual([read.state, read.reads, read.notes], ['read', 0, []]);
      assert.equal(read.bytes, written.bytes);
    }
    assert.equal((await load('never')).state, 'unused');
  });

  it('are made anew where they are damaged, and that is told', async () => {
    await load('always');
    const right = readFileSync(path);
    for (const damage of [
      (bytes: Buffer) => bytes.subarray(0, bytes.length - 7),
      () => Buffer.alloc(0),
      (bytes: Buffer) => bytes.fill(bytes[1000] ^ 4, 1000, 1001),
    ]) {
      writeFileSync(path, damage(Buffer.from(right)));
      const again = await load('always');
      assert.equal(again.state, 'written');
      assert.match(again.notes.join(), /packed weights: .*mobipack: .*; not used/);
      assert.ok(readFileSync(path).equals(right));
    }
  });

  it('are written by several at once without harm', async () => {
    rmSync(path, { force: true });
    const all = await Promise.all([load('always'), load('always'), load('always')]);
    assert.ok(all.every(({ state }) => state !== 'unused'));
    assert.equal(files().length, 1);
    assert.equal((await load('always')).state, 'read');
  });

  it('leave nothing where loading fails, and clear away what others left long ago', async () => {
    rmSync(path, { force: true });
    const failing = (weights: WeightSource): WeightSource => ({
      ...weights,
      vector: () => Promise.reject(new Error('no such vector')),
    });
    await assert.rejects(load('always', failing), /no such vector/);
    assert.deepEqual(files(), []);
    const left = ['1-aaaaaaaa', '2-bbbbbbbb'].map((end) =>
      join(dirname(path), `.${path.split('/').at(-1)}.tmp-${end}`),
    );
    for (const one of left) writeFileSync(one, 'x');
    utimesSync(left[0], 1, 1);
    await load('always');
    assert.deepEqual(files().length, 2, 'the new file, and the one somebody may be writing');
  });
});
