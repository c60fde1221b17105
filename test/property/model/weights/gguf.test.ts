import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { dequantize } from '../../../../src/model/weights/dequantize.ts';
import { ggmlTypes } from '../../../../src/model/weights/ggml-types.ts';
import type { GgufValue } from '../../../../src/model/weights/gguf.ts';
import { openGguf } from '../../../../src/model/weights/gguf.ts';
import { type ByteSource, memoryByteSource } from '../../../../src/platform/byte-source.ts';
import { f16ToNumber } from '../../../../src/tensor/dtype.ts';
import { FormatError } from '../../../../src/tensor/errors.ts';
import { type GgufField, writeGguf } from '../../../support/gguf-writer.ts';

const field: fc.Arbitrary<GgufField> = fc.oneof(
  fc.record({ type: fc.constant('uint32' as const), value: fc.nat(2 ** 32 - 1) }),
  fc.record({ type: fc.constant('int32' as const), value: fc.integer() }),
  fc.record({ type: fc.constant('uint64' as const), value: fc.bigInt(0n, 2n ** 64n - 1n) }),
  fc.record({ type: fc.constant('bool' as const), value: fc.boolean() }),
  fc.record({ type: fc.constant('string' as const), value: fc.string({ unit: 'grapheme' }) }),
  fc.array(fc.string({ maxLength: 5 }), { maxLength: 5 }).map((items) => ({
    type: 'array' as const,
    itemType: 8,
    items: items.map((value) => ({ type: 'string' as const, value })),
  })),
);

const file = fc
  .record({
    version: fc.constantFrom(2, 3),
    metadata: fc.uniqueArray(fc.tuple(fc.string({ maxLength: 8 }), field), {
      selector: ([key]) => key,
      maxLength: 6,
    }),
    tensors: fc.uniqueArray(
      fc.record({
        name: fc.string({ maxLength: 8 }),
        rows: fc.constantFrom(1, 2, 3, 7),
        blocks: fc.constantFrom(1, 2, 3),
        type: fc.constantFrom('F32', 'F16', 'Q4_0', 'Q4_1', 'Q8_0', 'Q4_K'),
        fill: fc.nat(255),
      }),
      { selector: ({ name }) => name, maxLength: 5 },
    ),
  })
  .map((spec) => ({
    ...spec,
    tensors: spec.tensors.map(({ name, rows, blocks, type, fill }) => {
      const { id, blockSize, blockBytes } = [...ggmlTypes.values()].find(
        (t) => t.name === type,
      ) as {
        id: number;
        blockSize: number;
        blockBytes: number;
      };
      const data = new Uint8Array(rows * blocks * blockBytes).fill(fill);
      return { name, dims: [blocks * blockSize, rows], type: id, data };
    }),
  }));

/** A source that remembers the largest read asked of it. */
function watched(bytes: Uint8Array): ByteSource & { largest: number } {
  const source = memoryByteSource(bytes, 'arbitrary.gguf');
  return {
    ...source,
    largest: 0,
    read(offset, length) {
      this.largest = Math.max(this.largest, length);
      return source.read(offset, length);
    },
  };
}

async function opensOrRefuses(bytes: Uint8Array): Promise<void> {
  const source = watched(bytes);
  try {
    const opened = await openGguf(source);
    for (const [name, tensor] of opened.tensors) {
      assert.ok(tensor.offset + tensor.byteLength <= bytes.length);
      assert.equal((await opened.readTensor(name)).length, tensor.byteLength);
    }
  } catch (error) {
    assert.ok(error instanceof FormatError, `untyped: ${error}`);
    assert.match(error.code, /^E_GGUF_/);
    assert.match(error.message, /arbitrary\.gguf/);
  }
  assert.ok(source.largest <= bytes.length, 'asked for more than the file has');
}

describe('openGguf on any bytes', () => {
  it('opens every valid file and gives back what was written', async () => {
    await fc.assert(
      fc.asyncProperty(file, async (spec) => {
        const opened = await openGguf(memoryByteSource(writeGguf(spec)));
        assert.deepEqual(
          [...opened.metadata.keys()],
          spec.metadata.map(([key]) => key),
        );
        for (const [key, written] of spec.metadata) {
          const read = opened.metadata.get(key);
          if (written.type === 'array') {
            assert.deepEqual(
              [...(read as Iterable<GgufValue>)],
              written.items.map((item) => (item as { value: string }).value),
            );
          } else if (written.type === 'uint64') assert.equal(BigInt(read as number), written.value);
          else assert.equal(read, written.value);
        }
        for (const tensor of spec.tensors) {
          assert.deepEqual(opened.tensors.get(tensor.name)?.shape, tensor.dims.toReversed());
          assert.deepEqual(await opened.readTensor(tensor.name), tensor.data);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('a valid file cut anywhere is refused as a FormatError, or lost only padding', async () => {
    await fc.assert(
      fc.asyncProperty(file, fc.nat(), async (spec, at) => {
        const bytes = writeGguf(spec);
        await opensOrRefuses(bytes.slice(0, at % (bytes.length + 1)));
      }),
      { numRuns: 300 },
    );
  });

  it('changed bytes give a file or a FormatError', async () => {
    const change = fc.tuple(fc.nat(), fc.constantFrom(0, 1, 8, 9, 12, 0x7f, 0x80, 0xff));
    await fc.assert(
      fc.asyncProperty(
        file,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        async (spec, changes) => {
          const bytes = writeGguf(spec);
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          await opensOrRefuses(bytes);
        },
      ),
      { numRuns: 800 },
    );
  });

  it('arbitrary bytes after an honest start give a file or a FormatError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (tail, honest) => {
        const start = honest ? writeGguf({}).slice(0, 8) : new Uint8Array(0);
        await opensOrRefuses(Uint8Array.of(...start, ...tail));
      }),
      { numRuns: 800 },
    );
  });
});

describe('dequantize on any blocks', () => {
  it('Q8_0 and Q4_1 follow their formula in f32', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 34, maxLength: 34 }), (bytes) => {
        const d = f16ToNumber((bytes[0] as number) | ((bytes[1] as number) << 8));
        const q8 = dequantize('Q8_0', bytes, 32);
        const signed = new Int8Array(bytes.buffer, bytes.byteOffset, 34);
        for (let j = 0; j < 32; j++) {
          assert.ok(Object.is(q8[j], Math.fround(d * (signed[2 + j] as number))));
        }
        const q4 = dequantize('Q4_1', bytes.subarray(0, 20), 32);
        const m = f16ToNumber((bytes[2] as number) | ((bytes[3] as number) << 8));
        for (let i = 0; i < 32; i++) {
          const nibble = ((bytes[4 + (i % 16)] as number) >> (i < 16 ? 0 : 4)) & 15;
          assert.ok(Object.is(q4[i], Math.fround(Math.fround(d * nibble) + m)));
        }
      }),
    );
  });
});
