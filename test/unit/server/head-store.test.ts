import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { HeadStore } from '../../../src/server/index.ts';
import { sha256Hex } from '../../../src/transport/index.ts';
import { HELLO } from '../../support/transport.ts';

const MODEL = HELLO.model;

const head = (n: number) => new Uint8Array(100).fill(n);

test('in memory the last ones are kept', async () => {
  const store = new HeadStore();
  const names = await Promise.all([1, 2, 3].map((n) => sha256Hex(head(n))));
  for (const [i, name] of names.entries()) await store.put(name, head(i + 1));
  assert.equal(await store.get(names[0], MODEL), undefined);
  assert.deepEqual((await store.get(names[1], MODEL))?.bytes, head(2));
  assert.deepEqual(await store.get(names[2], MODEL), { bytes: head(3), from: 'an earlier job' });
});

test('in a folder they outlive the store; one that is damaged is not held', async () => {
  const folder = join(mkdtempSync(join(tmpdir(), 'mobillm-heads-')), 'heads');
  try {
    const name = await sha256Hex(head(1));
    await new HeadStore(folder).put(name, head(1));
    assert.deepEqual((await new HeadStore(folder).get(name, MODEL))?.bytes, head(1));
    writeFileSync(join(folder, `${name}.head`), head(2));
    assert.equal(await new HeadStore(folder).get(name, MODEL), undefined);
    const store = new HeadStore(folder);
    for (let n = 0; n < 12; n++) await store.put(await sha256Hex(head(n)), head(n));
    assert.equal(readdirSync(folder).length, 8);
    assert.deepEqual((await store.get(await sha256Hex(head(11)), MODEL))?.bytes, head(11));
  } finally {
    rmSync(join(folder, '..'), { recursive: true });
  }
});

test('heads of models that the server has itself come from there', async () => {
  const name = await sha256Hex(head(1));
  const own = { bytes: head(1), from: 'model.gguf, int8' };
  const store = new HeadStore(undefined, {
    find: async (sha256, model) => (sha256 === name && model === MODEL ? own : undefined),
  });
  assert.deepEqual(await store.get(name, MODEL), own);
  assert.equal(await store.get(await sha256Hex(head(2)), MODEL), undefined);
});
