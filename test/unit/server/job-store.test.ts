import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { JobStore } from '../../../src/server/index.ts';
import { HELLO, hasCode, JOB } from '../../support/transport.ts';

const root = mkdtempSync(join(tmpdir(), 'mobillm-store-'));
after(() => rmSync(root, { recursive: true, force: true }));
let stores = 0;
const newFolder = () => join(root, 'deep', `store-${stores++}`);

const { model } = HELLO;
const never = () => assert.fail('nobody evicts');
const resumed = { ...JOB, resume: true };

test('a job is kept until it is forgotten', async () => {
  const folder = newFolder();
  const store = await JobStore.open(folder, 14);
  await assert.rejects(
    store.take(model, resumed, 'cpu', never),
    hasCode('E_JOB_UNKNOWN', /--state-dir/),
  );
  const lease = await store.take(model, JOB, 'cpu', never);
  assert.equal(lease.folder, join(folder, JOB.id));
  assert.equal(statSync(folder).mode & 0o77, 0, 'for this user alone');
  await lease.release();
  await assert.rejects(store.take(model, JOB, 'cpu', never), hasCode('E_JOB', /exists already/));
  const again = await (await JobStore.open(folder, 14)).take(model, resumed, 'wasm', never);
  assert.deepEqual([again.folder, again.backend], [lease.folder, 'cpu'], 'begun on the cpu');
  await again.release();
  await store.forget(JOB.id);
  await store.forget(JOB.id);
  assert.deepEqual(readdirSync(folder), []);
});

test('a continued job has to be the same, but for when it is saved', async () => {
  const store = await JobStore.open(newFolder(), 14);
  await (await store.take(model, JOB, 'cpu', never)).release();
  const cases: [RegExp, typeof model, typeof JOB][] = [
    [
      /job\.training\.seed was 1 and is now 2;/,
      model,
      { ...resumed, training: { ...JOB.training, seed: 2 } },
    ],
    [
      /job\.taps\.layers\.1 was 4 and is now 3;/,
      model,
      { ...resumed, taps: { ...JOB.taps, layers: [2, 3] } },
    ],
    [/job\.rows\.train was 8 and is now 9;/, model, { ...resumed, rows: { train: 9, valid: 0 } }],
    [/model\.layers was 4 and is now 5;/, { ...model, layers: 5 }, resumed],
    [
      /job\.training\.more was undefined and is now 1;/,
      model,
      { ...resumed, training: { ...JOB.training, more: 1 } },
    ],
  ];
  for (const [says, hello, job] of cases) {
    await assert.rejects(store.take(hello, job, 'cpu', never), hasCode('E_JOB', says));
  }
  await (await store.take(model, { ...resumed, saveEvery: 7 }, 'cpu', never)).release();
});

test('who continues a job ends its use by another connection first', async () => {
  const store = await JobStore.open(newFolder(), 14);
  const seen: string[] = [];
  const first = await store.take(model, JOB, 'cpu', () => {
    seen.push('evicted');
    setTimeout(async () => {
      seen.push('saved');
      await first.release();
    }, 20);
  });
  const second = await store.take(model, resumed, 'cpu', () => {
    seen.push('evicted again');
    void second.release();
  });
  assert.deepEqual(seen, ['evicted', 'saved']);
  await store.forget(JOB.id);
  assert.deepEqual(seen, ['evicted', 'saved', 'evicted again']);
  assert.ok(!existsSync(second.folder));
});

test('a job of another process is left to it, unless that is gone', async () => {
  const folder = newFolder();
  const store = await JobStore.open(folder, 14);
  const lease = await store.take(model, JOB, 'cpu', never);
  await lease.release();
  const lock = join(lease.folder, 'lock');
  // The parent of this process lives, and is not this one.
  writeFileSync(lock, `${hostname()} ${process.ppid}`);
  const other = hasCode('E_JOB', new RegExp(`process ${process.ppid} on .* works on it`));
  await assert.rejects(store.take(model, resumed, 'cpu', never), other);
  assert.ok(existsSync(lock), 'its lock stays');
  const { pid } = spawnSync(process.execPath, ['--version']);
  writeFileSync(lock, `${hostname()} ${pid}`);
  await (await store.take(model, resumed, 'cpu', never)).release();
  assert.ok(!existsSync(lock));
});

test('jobs that nobody came back for are removed; other files are not', async () => {
  const folder = newFolder();
  const store = await JobStore.open(folder, 1);
  const old = await store.take(model, JOB, 'cpu', never);
  await old.release();
  writeFileSync(join(folder, 'notes.txt'), 'mine');
  const yesterday = new Date(Date.now() - 2 * 86_400_000);
  for (const path of [join(old.folder, 'job'), old.folder]) utimesSync(path, yesterday, yesterday);
  const young = await store.take(model, { ...JOB, id: 'b1'.repeat(16) }, 'cpu', never);
  assert.deepEqual(readdirSync(folder).sort(), ['b1'.repeat(16), 'notes.txt']);
  await young.release();
});
