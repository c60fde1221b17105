import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { monotonicMs } from '../../../src/platform/clock.ts';
import {
  cacheDir,
  fileByteSource,
  fileError,
  listFiles,
  readText,
  sha256File,
  spawnWorker,
  writeFileAtomic,
  writeFolderAtomic,
} from '../../../src/platform/node.ts';
import { UsageError } from '../../../src/tensor/errors.ts';

const SHA256_ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'; // FIPS 180-2, B.1

describe('platform', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mobillm-platform-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  for (const kind of ['memory', 'file'] as const) {
    it(`${kind} source reads exact ranges and refuses others`, async () => {
      const path = join(dir, 'source.bin');
      const bytes = Uint8Array.from({ length: 100 }, (_, i) => i);
      await writeFile(path, bytes);
      const source = kind === 'file' ? await fileByteSource(path) : memoryByteSource(bytes);
      assert.equal(source.size, 100);
      assert.deepEqual(await source.read(10, 5), Uint8Array.of(10, 11, 12, 13, 14));
      assert.equal((await source.read(100, 0)).byteLength, 0);
      const copy = await source.read(0, 100);
      copy[0] = 99;
      assert.equal((await source.read(0, 1))[0], 0);
      for (const [offset, length] of [
        [99, 2],
        [-1, 1],
        [0, -1],
        [0.5, 1],
        [0, 2 ** 53],
        [Number.NaN, 1],
      ] as const) {
        await assert.rejects(source.read(offset, length), { code: 'E_TRUNCATED' });
      }
      await source.close();
      await source.close();
      await assert.rejects(source.read(0, 1), /closed/);
    });
  }

  it('names a missing file, a folder, and reads text', async () => {
    await assert.rejects(fileByteSource(join(dir, 'none')), { code: 'E_NOT_FOUND' });
    await assert.rejects(fileByteSource(dir), { code: 'E_FILE' });
    await writeFile(join(dir, 'text'), 'naïve ☕');
    assert.equal(await readText(join(dir, 'text')), 'naïve ☕');
  });

  it('names the line of a text that is not UTF-8', async () => {
    const path = join(dir, 'latin1');
    const says = /latin1:2: is not UTF-8/;
    await writeFile(
      path,
      Buffer.concat([Buffer.from('☕\n'), Buffer.from('na\xefve\n', 'latin1')]),
    );
    await assert.rejects(readText(path), { code: 'E_FORMAT', message: says });
    await writeFile(path, Buffer.concat([Buffer.from('☕\n'), Buffer.from([0xe2, 0x98])]));
    await assert.rejects(readText(path), { code: 'E_FORMAT', message: says });
    // As a spreadsheet saves "Unicode text".
    await writeFile(path, Buffer.from('\ufefftext\tlabel\n', 'utf16le'));
    await assert.rejects(readText(path), { code: 'E_FORMAT', message: /latin1:1: is not UTF-8/ });
  });

  it('lists the files of a folder, and knows where there is none', async () => {
    assert.equal(await listFiles(join(dir, 'none')), undefined);
    assert.equal(await listFiles(join(dir, 'text')), undefined);
    assert.ok((await listFiles(dir))?.includes('text'));
  });

  it('hashes a file, with progress and cancellation', async () => {
    const path = join(dir, 'abc');
    await writeFile(path, 'abc');
    const seen: number[] = [];
    assert.equal(await sha256File(path, { onProgress: (done) => seen.push(done) }), SHA256_ABC);
    assert.deepEqual(seen, [3]);
    await assert.rejects(sha256File(path, { signal: AbortSignal.abort() }), { name: 'AbortError' });
  });

  it('cacheDir follows MOBILLM_HOME, then XDG_CACHE_HOME, then the home folder', () => {
    assert.equal(cacheDir({ MOBILLM_HOME: '/a', XDG_CACHE_HOME: '/b' }), '/a');
    assert.equal(cacheDir({ XDG_CACHE_HOME: '/b' }), join('/b', 'mobillm'));
    assert.match(cacheDir({}), /\.cache.mobillm$/);
  });

  it('writes files atomically, through links, making folders', async () => {
    const path = join(dir, 'deep', 'er', 'file.txt');
    await writeFileAtomic(path, 'one');
    await writeFileAtomic(path, 'two');
    assert.equal(await readFile(path, 'utf8'), 'two');
    const link = join(dir, 'link.txt');
    await symlink(path, link);
    await writeFileAtomic(link, 'three');
    assert.equal(await readFile(path, 'utf8'), 'three');
    assert.deepEqual(await readdir(join(dir, 'deep', 'er')), ['file.txt']);
  });

  it('leaves nothing when a write fails', async () => {
    const folder = join(dir, 'taken');
    await mkdir(join(folder, 'inner'), { recursive: true });
    await assert.rejects(writeFileAtomic(folder, 'x'), UsageError);
    await assert.rejects(writeFileAtomic(join(dir, 'abc', 'x'), 'x'), { code: 'E_FILE' });
    assert.deepEqual(
      (await readdir(dir)).filter((name) => name.includes('.tmp-')),
      [],
    );
  });

  it('reports a full disk with its own code', async () => {
    const full = Object.assign(new Error('ENOSPC: no space'), { code: 'ENOSPC' });
    const error = fileError('write', '/x/y', full);
    assert.equal(error.code, 'E_DISK_FULL');
    assert.match(error.message, /\/x\/y/);
    // A device that is always full, where the system has one.
    if ((await stat('/dev/full').catch(() => null)) === null) return;
    const target = join(dir, 'adapter-full');
    await assert.rejects(
      writeFolderAtomic(target, (temporary) => {
        assert.ok(temporary.startsWith(dir));
        return writeFile('/dev/full', 'x'.repeat(10));
      }),
      { code: 'E_DISK_FULL' },
    );
    await assert.rejects(stat(target), { code: 'ENOENT' });
  });

  it('makes folders atomically, replaces them, and keeps what is not its own', async () => {
    const target = join(dir, 'adapter');
    await writeFolderAtomic(target, async (temporary) => {
      await writeFile(join(temporary, 'a'), '1');
      await assert.rejects(stat(target), { code: 'ENOENT' });
    });
    await writeFile(join(target, 'notes'), 'mine');
    await writeFolderAtomic(target, async (temporary) => {
      await writeFile(join(temporary, 'a'), '2');
      await mkdir(join(temporary, 'sub'));
      await writeFile(join(temporary, 'sub', 'b'), '3');
    });
    assert.deepEqual((await readdir(target)).sort(), ['a', 'notes', 'sub']);
    assert.equal(await readFile(join(target, 'a'), 'utf8'), '2');
    const failure = new Error('caller failed');
    await assert.rejects(
      writeFolderAtomic(target, async (temporary) => {
        await writeFile(join(temporary, 'a'), 'half');
        throw failure;
      }),
      failure,
    );
    assert.equal(await readFile(join(target, 'a'), 'utf8'), '2');
    const left = (await readdir(dir)).filter((name) => name.includes('.tmp-'));
    assert.deepEqual(left, []);
    await assert.rejects(
      writeFolderAtomic(join(dir, 'abc'), async () => {}),
      { code: 'E_FILE' },
    );
  });

  it('runs a TypeScript worker: messages, transfer, one clock', async () => {
    const before = monotonicMs();
    const worker = spawnWorker(new URL('./workers/echo.ts', import.meta.url));
    const inbox: Record<string, unknown>[] = [];
    let wake: (() => void) | null = null;
    worker.onMessage((value) => {
      inbox.push(value as Record<string, unknown>);
      wake?.();
    });
    const next = async () => {
      while (inbox.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return inbox.shift() as Record<string, unknown>;
    };
    const hello = await next();
    // Clocks of two threads agree far better than a worker takes to start; 5 ms covers their drift.
    assert.ok((hello.at as number) > before - 5 && (hello.at as number) < monotonicMs() + 5);
    const bytes = Uint8Array.of(1, 2, 3);
    worker.postMessage({ bytes }, [bytes.buffer]);
    assert.equal(bytes.byteLength, 0);
    assert.deepEqual((await next()).bytes, Uint8Array.of(2, 3, 4));
    const failures: Error[] = [];
    worker.onError((error) => failures.push(error));
    await worker.terminate();
    assert.deepEqual(failures, []);
  });

  it('reports a worker that throws, one that leaves, and one that is not there', async () => {
    for (const [message, pattern] of [
      [{ fail: true }, /failed on purpose/],
      [{ leave: true }, /ended with code 3/],
    ] as const) {
      const worker = spawnWorker(new URL('./workers/echo.ts', import.meta.url));
      worker.postMessage(message);
      const error = await new Promise<Error>((resolve) => worker.onError(resolve));
      assert.match(error.message, pattern);
      await worker.terminate();
    }
    const missing = spawnWorker(pathToFileURL(join(dir, 'nowhere.ts')));
    assert.match((await new Promise<Error>((resolve) => missing.onError(resolve))).message, /find/);
  });

  it('takes the built .js where the .ts is not', async () => {
    const source =
      "import { parentPort } from 'node:worker_threads';parentPort.postMessage('built');";
    await writeFile(join(dir, 'entry.js'), source.replaceAll('parentPort.', 'parentPort?.'));
    await writeFile(join(dir, 'package.json'), '{"type":"module"}');
    const worker = spawnWorker(pathToFileURL(join(dir, 'entry.ts')));
    assert.equal(await new Promise((resolve) => worker.onMessage(resolve)), 'built');
    await worker.terminate();
  });
});
