import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { brokenOffJob, withAdvice } from '../../../src/cli/kept-job.ts';
import {
  checkSameJob,
  type JobIdentity,
  type PartialJob,
  readPartialJob,
  removePartialJob,
  unsavedText,
  writePartialJob,
} from '../../../src/cli/partial-job.ts';
import { ProtocolError } from '../../../src/tensor/errors.ts';
import { TRAINING_OPTIONS } from '../../support/training.ts';
import { hasCode } from '../../support/transport.ts';

const root = mkdtempSync(join(tmpdir(), 'mobillm-partial-'));
after(() => rmSync(root, { recursive: true, force: true }));

const identity: JobIdentity = {
  model: { sha256: 'ab'.repeat(32), precision: 'int8', backend: 'wasm', randomSeed: null },
  data: { train: '01'.repeat(32), valid: '02'.repeat(32) },
  plan: {
    template: '{text}:',
    labels: ['a', 'b'],
    prefix: '',
    maxSeqLength: 64,
    layers: [1, 2],
    kinds: ['last'],
    bits: 4,
  },
  training: TRAINING_OPTIONS,
};
const job: PartialJob = {
  id: '0f'.repeat(16),
  server: 'ws://127.0.0.1:1',
  identity,
  calibration: { mean: 'ADQ=', scale: 'ADg=' },
  saved: { batches: 3, step: 2 },
};

test('what is kept of a job comes back, and goes without a trace', async () => {
  const adapter = join(root, 'adapter');
  assert.equal(unsavedText(adapter), `no adapter was written to ${adapter}`);
  await writePartialJob(`${adapter}/`, job);
  await writePartialJob(adapter, job);
  const { id, identity: read, calibration, saved } = await readPartialJob(adapter);
  assert.deepEqual({ id, server: job.server, identity: read, calibration, saved }, job);
  assert.match(unsavedText(adapter), /; what is done is kept, --resume goes on$/);
  // A process was killed amid a write.
  writeFileSync(join(`${adapter}.partial`, '.job.json.tmp-7-00ff'), 'half');
  await removePartialJob(adapter);
  await removePartialJob(adapter);
  assert.deepEqual(readdirSync(root), []);
});

test('files of somebody else in its folder stay', async () => {
  const adapter = join(root, 'shared');
  await writePartialJob(adapter, job);
  writeFileSync(join(`${adapter}.partial`, 'notes.txt'), 'mine');
  await removePartialJob(adapter);
  assert.deepEqual(readdirSync(`${adapter}.partial`), ['notes.txt']);
});

test('what changed is named as a person knows it', () => {
  const { model, data, plan, training } = identity;
  const cases: [RegExp, JobIdentity][] = [
    [/the model \(--model\) changed; /, { ...identity, model: { ...model, sha256: 'cd' } }],
    [
      /--precision changed: "int8" then, "int4" now;/,
      { ...identity, model: { ...model, precision: 'int4' } },
    ],
    [
      /--random-backbone changed: null then, 5 now;/,
      { ...identity, model: { ...model, randomSeed: 5 } },
    ],
    [/the training rows \(--data\) changed; /, { ...identity, data: { ...data, train: 'ff' } }],
    [/the validation rows \(--data\) changed; /, { ...identity, data: { ...data, valid: 'ff' } }],
    [
      /--taps changed: \["last"\] then, \["mean"\] now;/,
      { ...identity, plan: { ...plan, kinds: ['mean'] } },
    ],
    [
      /--max-seq-length changed: 64 then, 9 now;/,
      { ...identity, plan: { ...plan, maxSeqLength: 9 } },
    ],
    [
      /--no-refit changed: false then, true now;/,
      { ...identity, training: { ...training, refit: true } },
    ],
    [
      /--seed changed: 5 then, 6 now; .*--restart/,
      { ...identity, training: { ...training, seed: 6 } },
    ],
  ];
  for (const [says, now] of cases) {
    assert.throws(() => checkSameJob(identity, now), hasCode('E_RESUME', says));
  }
  checkSameJob(JSON.parse(JSON.stringify(identity)), identity);
});

test('flags and what is there have to go together', async () => {
  const adapterPath = join(root, 'flags');
  assert.equal(await brokenOffJob({ adapterPath }), undefined);
  assert.equal(await brokenOffJob({ adapterPath, restart: true }), undefined);
  await assert.rejects(brokenOffJob({ adapterPath, resume: true }), hasCode('E_RESUME', /nothing/));
  await writePartialJob(adapterPath, job);
  await assert.rejects(brokenOffJob({ adapterPath }), hasCode('E_RESUME', /--resume goes on/));
  const both = brokenOffJob({ adapterPath, resume: true, restart: true });
  await assert.rejects(both, hasCode('E_USAGE'));
  assert.equal((await brokenOffJob({ adapterPath, resume: true }))?.id, job.id);
  assert.equal((await brokenOffJob({ adapterPath, restart: true }))?.id, job.id);
  writeFileSync(join(`${adapterPath}.partial`, 'job.json'), '{"format": 1');
  const damaged = hasCode('E_RESUME', /damaged: .*--restart begins anew/);
  await assert.rejects(brokenOffJob({ adapterPath, resume: true }), damaged);
  assert.equal(await brokenOffJob({ adapterPath, restart: true }), undefined);
});

test('an error says what can be done about it', async () => {
  const adapterPath = join(root, 'advice');
  const after = async (code: string) =>
    ((await withAdvice(new ProtocolError('it broke', code), adapterPath)) as Error).message;
  assert.equal(await after('E_CLOSED'), 'it broke', 'nothing is kept');
  await writePartialJob(adapterPath, job);
  assert.match(await after('E_CLOSED'), /^it broke; --resume goes on/);
  assert.match(await after('E_JOB_UNKNOWN'), /^it broke; --restart/);
  assert.match(await after('E_STATE'), /^it broke; --restart/);
  assert.equal(await after('E_DIVERGED'), 'it broke');
  assert.ok(!existsSync(`${adapterPath}.partial`), 'it would run away again');
});
