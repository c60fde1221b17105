import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import fc from 'fast-check';
import { ActivationCache } from '../../../src/server/index.ts';
import { FormatError, UsageError } from '../../../src/tensor/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'mobillm-cache-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A record that no other row has. */
const record = (row: number, length: number) =>
  Uint8Array.from({ length }, (_, i) => (row * 31 + i * 7) & 255);

describe('ActivationCache', () => {
  it('gives back from disk what it gives back from memory, and counts both', () => {
    const rows = fc.uniqueArray(fc.nat(1e6), { minLength: 1, maxLength: 40 });
    const reads = fc.array(fc.nat(), { maxLength: 40 });
    // More than 256 records are in two allocations; property sizes stay below, one example above.
    fc.assert(
      fc.property(
        rows,
        fc.constantFrom(1, 5, 64),
        fc.nat(40),
        reads,
        (ids, recordBytes, held, at) => {
          const memory = new ActivationCache({
            recordBytes,
            memoryLimit: Number.POSITIVE_INFINITY,
          });
          const memoryLimit = held * recordBytes;
          const disk = new ActivationCache({ recordBytes, memoryLimit, spillDir: folder });
          for (const id of ids) {
            const bytes = record(id, recordBytes);
            memory.put(id, bytes);
            disk.put(id, bytes);
            // It holds copies.
            bytes.fill(0);
          }
          for (const id of [...ids, ...at.map((n) => ids[n % ids.length])]) {
            assert.deepEqual(disk.get(id), record(id, recordBytes));
            assert.deepEqual(memory.get(id), record(id, recordBytes));
          }
          const inMemory = Math.min(ids.length, held);
          assert.deepEqual(
            [disk.size, disk.memoryBytes, disk.spilledBytes],
            [ids.length, inMemory * recordBytes, (ids.length - inMemory) * recordBytes],
          );
          assert.equal(memory.spilledBytes, 0);
          disk.close();
          memory.close();
        },
      ),
      { numRuns: 40 },
    );
    assert.deepEqual(readdirSync(folder), []);
  });

  it('holds rows beyond one allocation', () => {
    const cache = new ActivationCache({ recordBytes: 3, memoryLimit: 300 * 3, spillDir: folder });
    for (let row = 0; row < 600; row++) cache.put(row, record(row, 3));
    for (let row = 599; row >= 0; row--) assert.deepEqual(cache.get(row), record(row, 3));
    assert.equal(cache.spilledBytes, 300 * 3);
    cache.close();
  });

  it('refuses a row that came before, one of another length, and one it does not hold', () => {
    for (const memoryLimit of [100, 0]) {
      const cache = new ActivationCache({ recordBytes: 4, memoryLimit, spillDir: folder });
      cache.put(7, record(7, 4));
      assert.ok(cache.has(7) && !cache.has(8));
      assert.throws(() => cache.put(7, record(8, 4)), FormatError);
      assert.deepEqual(cache.get(7), record(7, 4));
      assert.throws(() => cache.put(8, record(8, 3)), FormatError);
      assert.throws(() => cache.get(8), FormatError);
      cache.close();
      assert.equal(cache.size, 0);
      assert.throws(() => cache.get(7), FormatError);
      cache.close();
    }
  });

  it('leaves nothing in the folder, and can be filled again after close', () => {
    const cache = new ActivationCache({ recordBytes: 2, memoryLimit: 0, spillDir: folder });
    for (let round = 0; round < 2; round++) {
      cache.put(1, record(round, 2));
      assert.deepEqual(cache.get(1), record(round, 2));
      cache.close();
      assert.deepEqual(readdirSync(folder), []);
    }
  });

  it('says where it could not spill to', () => {
    const spillDir = join(folder, 'not-there');
    const cache = new ActivationCache({ recordBytes: 2, memoryLimit: 0, spillDir });
    assert.throws(
      () => cache.put(1, record(1, 2)),
      (error: unknown) => {
        assert.ok(error instanceof UsageError);
        assert.equal(error.code, 'E_NOT_FOUND');
        return error.message.startsWith(`spill activations: ${spillDir}`);
      },
    );
    assert.equal(cache.has(1), false);
  });
});
