import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import { OwnHeads } from '../../../src/cli/own-heads.ts';
import type { WeightPrecision } from '../../../src/model/index.ts';
import { loadLmHead } from '../../../src/model/load-head.ts';
import { wasmBackend } from '../../../src/tensor/index.ts';
import { type HelloMessage, sha256Hex } from '../../../src/transport/index.ts';
import { tinyFolder } from '../../support/tiny-models.ts';

const neverFaulty = (path: string, error: Error) => assert.fail(`${path}: ${error.message}`);

describe('output heads of a server’s own models', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mobillm-own-'));
  const path = join(folder, 'llama');
  const expected = new Map<WeightPrecision, { bytes: Uint8Array; sha256: string }>();
  let model: HelloMessage['model'];

  before(async () => {
    cpSync(tinyFolder('llama').path, path, { recursive: true });
    const opened = await openModelPath(path);
    const { modelType: architecture, hiddenSize, numHiddenLayers: layers } = opened.model.config;
    model = { fingerprint: 'ab'.repeat(32), architecture, hiddenSize, layers };
    for (const precision of ['int8', 'int4', 'f32'] as const) {
      const weights = opened.model.weights('');
      const bytes = await loadLmHead(opened.model, weights, precision, wasmBackend());
      expected.set(precision, { bytes, sha256: await sha256Hex(bytes) });
    }
    await opened.close();
  });
  after(() => rmSync(folder, { recursive: true }));

  const sha256Of = (precision: WeightPrecision) => expected.get(precision)?.sha256 ?? '';

  it('are made when a job names one, by the precision of its device or by trying', async () => {
    const heads = await OwnHeads.open([path], neverFaulty);
    for (const [precision, { bytes, sha256 }] of expected) {
      const found = { bytes, from: `${path}, ${precision}` };
      assert.deepEqual(await heads.find(sha256, { ...model, precision }), found);
      const other = await OwnHeads.open([path], neverFaulty);
      assert.deepEqual(await other.find(sha256, model), found);
    }
    // The hash decides: a device that says one precision and names the head of another has to send it.
    assert.equal(await heads.find(sha256Of('int8'), { ...model, precision: 'int4' }), undefined);
    assert.equal(await heads.find('cd'.repeat(32), model), undefined);
    assert.equal(await heads.find(sha256Of('int8'), { ...model, layers: 99 }), undefined);
  });

  it('may be asked for by several jobs at once', async () => {
    const heads = await OwnHeads.open([path], neverFaulty);
    const asked = ['int8', 'int4', 'int8'] as const;
    const found = await Promise.all(
      asked.map((precision) => heads.find(sha256Of(precision), { ...model, precision })),
    );
    assert.deepEqual(
      found.map((head) => head?.from),
      asked.map((precision) => `${path}, ${precision}`),
    );
  });

  it('that cannot be made any more are told of, and come from the device', async () => {
    const faults: string[] = [];
    const heads = await OwnHeads.open([path], (of, error) => {
      faults.push(`${of}: ${error.message}`);
    });
    rmSync(path, { recursive: true });
    const precision = 'int8';
    assert.equal(await heads.find(sha256Of(precision), { ...model, precision }), undefined);
    assert.equal(faults.length, 1);
    assert.ok(faults[0].startsWith(`${path}: `));
  });

  it('an encoder has none', async () => {
    await assert.rejects(OwnHeads.open([tinyFolder('bert').path], neverFaulty), {
      name: 'UsageError',
      message: /is an encoder/,
    });
  });
});
