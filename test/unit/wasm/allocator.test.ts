import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ALIGNMENT, Allocator } from '../../../src/tensor/backends/wasm/allocator.ts';

const BASE = 1024;
const END = BASE + 64 * 1024;

/** Refuses: the range is all there is. */
const full = (): number => {
  throw new RangeError('full');
};

/** What to do next: allocate so many bytes, or free the piece at this place in the list. */
const steps = fc.array(
  fc.oneof(
    fc.record({ alloc: fc.oneof(fc.nat(300), fc.nat(9000), fc.constantFrom(0, 1, 63, 64, 65)) }),
    fc.record({ free: fc.nat(1000) }),
  ),
  { maxLength: 200 },
);

describe('Allocator', () => {
  test('pieces are aligned, inside, apart; freeing all of them restores one block', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const allocator = new Allocator(BASE, END, full);
        const held: { start: number; end: number }[] = [];
        for (const step of sequence) {
          if ('free' in step) {
            const [one] = held.splice(held.length ? step.free % held.length : 0, 1);
            if (one) assert.equal(allocator.free(one.start), true);
            continue;
          }
          let start: number;
          try {
            start = allocator.alloc(step.alloc);
          } catch {
            const largest = Math.max(0, ...allocator.freeBlocks().map(([, bytes]) => bytes));
            assert.ok(largest < step.alloc, `refused ${step.alloc} with ${largest} free in a row`);
            continue;
          }
          const end = start + Math.max(step.alloc, 1);
          assert.equal(start % ALIGNMENT, 0);
          assert.ok(start >= BASE && end <= END, `[${start}, ${end}) is outside`);
          for (const other of held) {
            assert.ok(end <= other.start || start >= other.end, `${start} overlaps ${other.start}`);
          }
          held.push({ start, end });
        }
        for (const { start } of held) allocator.free(start);
        assert.deepEqual(allocator.freeBlocks(), [[BASE, END - BASE]]);
      }),
    );
  });

  test('free blocks never touch: neighbours were merged', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const allocator = new Allocator(BASE, END, full);
        const held: number[] = [];
        for (const step of sequence) {
          if ('free' in step) allocator.free(held.splice(step.free % (held.length || 1), 1)[0]);
          else {
            try {
              held.push(allocator.alloc(step.alloc));
            } catch {
              // full: others go on
            }
          }
          const blocks = allocator.freeBlocks();
          for (let i = 1; i < blocks.length; i++) {
            assert.ok(blocks[i - 1][0] + blocks[i - 1][1] < blocks[i][0]);
          }
        }
      }),
    );
  });

  test('asks for what is missing only, and counts a free block at the end', () => {
    const asked: number[] = [];
    const allocator = new Allocator(BASE, BASE + 1024, (end) => {
      asked.push(end);
      return end;
    });
    const first = allocator.alloc(512);
    allocator.alloc(4096);
    assert.deepEqual(asked, [BASE + 512 + 4096]);
    allocator.free(first);
    assert.deepEqual(allocator.freeBlocks(), [[BASE, 512]]);
    assert.equal(allocator.alloc(500), BASE);
  });

  test('what grow throws comes out, and nothing has changed', () => {
    const allocator = new Allocator(BASE, END, full);
    assert.throws(() => allocator.alloc(END), RangeError);
    assert.deepEqual(allocator.freeBlocks(), [[BASE, END - BASE]]);
  });

  test('freeing what was not allocated is noticed', () => {
    const allocator = new Allocator(BASE, END, full);
    const start = allocator.alloc(100);
    assert.equal(allocator.free(start + 64), false);
    assert.equal(allocator.free(start), true);
    assert.equal(allocator.free(start), false);
  });

  test('a block of the right size is used again at once', () => {
    const allocator = new Allocator(BASE, END, full);
    const [a, , c] = [1000, 100, 5000].map((bytes) => allocator.alloc(bytes));
    allocator.alloc(64);
    allocator.free(a);
    allocator.free(c);
    assert.equal(allocator.alloc(1000), a);
    assert.equal(allocator.alloc(5000), c);
  });
});
