import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkWritable, writeFileAtomic } from '../../../src/platform/node.ts';
import { hasCode } from '../../support/transport.ts';

const dir = mkdtempSync(join(tmpdir(), 'mobillm-write-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const file = join(dir, 'file');
writeFileSync(file, 'x');

test('what could not be written later is said before', async () => {
  await checkWritable('--out', join(dir, 'new'), 'folder');
  await checkWritable('--out', join(dir, 'new', 'deeper', 'file'), 'file');
  await checkWritable('--out', dir, 'folder');
  await checkWritable('--out', file, 'file');
  assert.deepEqual(readdirSync(dir), ['file'], 'looking makes nothing');
  const refused = (path: string, kind: 'file' | 'folder', text: RegExp) =>
    assert.rejects(checkWritable('--out', path, kind), hasCode('E_FILE', text));
  await refused(file, 'folder', /^--out: .*file: is a file, not a folder$/);
  await refused(dir, 'file', /^--out: .*: is a folder, not a file$/);
  await refused(join(file, 'a', 'b'), 'file', /^--out: .*file: is a file, not a folder$/);
});

test('a pipe is written to, never replaced', { skip: process.platform === 'win32' }, async () => {
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const [text] = await Promise.all([readFile(pipe, 'utf8'), writeFileAtomic(pipe, 'through')]);
  assert.equal(text, 'through');
  assert.ok(statSync(pipe).isFIFO());
});

test('a device that takes nothing is said to be full', async (t) => {
  try {
    await (await open('/dev/full', 'r')).close();
  } catch {
    t.skip('no /dev/full here');
    return;
  }
  await assert.rejects(writeFileAtomic('/dev/full', 'x'), hasCode('E_DISK_FULL', /dev.full/));
  assert.ok(statSync('/dev/full').isCharacterDevice());
});
