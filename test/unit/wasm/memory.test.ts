import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { HEAP_BASE, WasmMemory } from '../../../src/tensor/backends/wasm/memory.ts';
import { BackendError } from '../../../src/tensor/errors.ts';

/** One page of 64 KiB for tensors, and no more. */
const small = () => new WasmMemory(65536, HEAP_BASE + 65536);

describe('WasmMemory', () => {
  test('a small piece is used again as it is, and given back only once', () => {
    const memory = small();
    const first = memory.alloc('f32', 576);
    memory.alloc('f32', 1);
    memory.free(first);
    assert.throws(() => memory.free(first), BackendError);
    assert.equal(memory.alloc('f32', 570), first);
    memory.free(first);
    assert.deepEqual(memory.usage(), { bytes: 4, peakBytes: 576 * 4 + 4, allocations: 1 });
  });

  test('pieces that wait are joined before memory grows', () => {
    const memory = small();
    const pieces = Array.from({ length: 64 }, () => memory.alloc('u8', 1024));
    for (const piece of pieces) memory.free(piece);
    assert.equal(memory.alloc('u8', 65536), HEAP_BASE);
    assert.equal(memory.memory.buffer.byteLength, HEAP_BASE + 65536);
  });

  test('what is held never overlaps, and everything given back is one piece again', () => {
    const steps = fc.array(
      fc.oneof(fc.record({ alloc: fc.nat(5000) }), fc.record({ free: fc.nat(100) })),
      { maxLength: 100 },
    );
    fc.assert(
      fc.property(steps, (sequence) => {
        const memory = new WasmMemory(2 ** 20, HEAP_BASE + 2 ** 20);
        const held: { start: number; end: number }[] = [];
        for (const step of sequence) {
          if ('free' in step) {
            const [one] = held.splice(held.length ? step.free % held.length : 0, 1);
            if (one) memory.free(one.start);
            continue;
          }
          const start = memory.alloc('u8', step.alloc);
          const end = start + Math.max(1, step.alloc);
          assert.ok(held.every((other) => end <= other.start || start >= other.end));
          held.push({ start, end });
        }
        for (const { start } of held) memory.free(start);
        assert.equal(memory.usage().allocations, 0);
        assert.equal(memory.alloc('u8', 2 ** 20), HEAP_BASE);
      }),
    );
  });
});
