import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  encodeSafetensors,
  openSafetensors,
  safetensorsTypes,
} from '../../../../src/model/index.ts';
import { type ByteSource, memoryByteSource } from '../../../../src/platform/byte-source.ts';
import { FormatError, numelOf } from '../../../../src/tensor/index.ts';

const values = (count: number) =>
  fc.array(fc.float({ noNaN: true }), { minLength: count, maxLength: count });

const tensors = fc
  .uniqueArray(
    fc
      .tuple(
        fc.oneof(
          fc.string({ maxLength: 8 }),
          fc.string({ unit: 'binary', maxLength: 4 }),
          fc.constantFrom('0', '17', '__proto__', 'toString', 'head.weight'),
        ),
        fc.array(fc.constantFrom(0, 1, 2, 3, 5), { maxLength: 3 }),
      )
      .filter(([name]) => name !== '__metadata__')
      .chain(([name, shape]) =>
        values(numelOf(shape)).map((list) => ({ name, shape, values: Float32Array.from(list) })),
      ),
    { selector: ({ name }) => name, maxLength: 5 },
  )
  .map((list) => new Map(list.map(({ name, ...tensor }) => [name, tensor])));

const metadata = fc.dictionary(fc.string({ maxLength: 6 }), fc.string({ maxLength: 6 }), {
  maxKeys: 3,
  noNullPrototype: true,
});

/** Opens and reads everything: consistent, or a typed error in one line. */
async function openOrRefuse(bytes: Uint8Array): Promise<void> {
  let largest = 0;
  const inner = memoryByteSource(bytes, 'x');
  const source: ByteSource = {
    ...inner,
    read(offset, length) {
      largest = Math.max(largest, length);
      return inner.read(offset, length);
    },
  };
  try {
    const file = await openSafetensors(source);
    let total = 0;
    for (const [name, entry] of file.tensors) {
      const data = await file.readTensor(name);
      assert.equal(data.length, numelOf(entry.shape) * safetensorsTypes[entry.type]);
      total += data.length;
    }
    assert.ok(total <= bytes.length, 'no byte belongs to two tensors');
    for (const value of Object.values(file.metadata)) assert.equal(typeof value, 'string');
  } catch (error) {
    assert.ok(error instanceof FormatError, `${(error as Error).stack}`);
    assert.equal(error.code, 'E_SAFETENSORS');
    assert.ok(!error.message.includes('\n'), error.message);
  }
  assert.ok(largest <= bytes.length, 'nothing is read, or allocated, beyond the file');
}

/** `bytes` with another header. */
function withHeader(bytes: Uint8Array, header: unknown): Uint8Array {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const json = new TextEncoder().encode(JSON.stringify(header));
  const out = new Uint8Array(bytes.length - length + json.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true);
  out.set(json, 8);
  out.set(bytes.subarray(8 + length), 8 + json.length);
  return out;
}

describe('safetensors', () => {
  it('gives back what was written', async () => {
    await fc.assert(
      fc.asyncProperty(tensors, metadata, async (map, meta) => {
        const bytes = encodeSafetensors(map, meta);
        const file = await openSafetensors(memoryByteSource(bytes));
        assert.deepEqual({ ...file.metadata }, meta);
        assert.deepEqual(new Set(file.tensors.keys()), new Set(map.keys()));
        for (const [name, { shape, values: written }] of map) {
          const entry = file.tensors.get(name);
          assert.deepEqual(entry?.shape, shape);
          assert.equal(entry?.type, 'F32');
          const data = await file.readTensor(name);
          assert.deepEqual(new Float32Array(data.buffer), written);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('arbitrary bytes give typed errors', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), fc.nat(80), async (body, length) => {
        await openOrRefuse(body);
        const headed = new Uint8Array(8 + body.length);
        headed[0] = length;
        headed.set(body, 8);
        await openOrRefuse(headed);
      }),
      { numRuns: 500 },
    );
  });

  it('a file with bytes changed, cut or added opens consistently or gives a typed error', async () => {
    await fc.assert(
      fc.asyncProperty(
        tensors,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
        fc.integer({ min: -12, max: 4 }),
        async (map, changes, longer) => {
          const bytes = encodeSafetensors(map);
          const out = new Uint8Array(Math.max(0, bytes.length + longer));
          out.set(bytes.subarray(0, out.length));
          if (out.length === 0) return;
          // Half of the changes fall on the header's length and first bytes, where they matter.
          for (const [at, value] of changes)
            out[(at % (at % 2 ? out.length : 24)) % out.length] = value;
          await openOrRefuse(out);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('a header with any JSON in any place opens consistently or gives a typed error', async () => {
    await fc.assert(
      fc.asyncProperty(
        tensors,
        fc.nat(),
        fc.constantFrom('dtype', 'shape', 'data_offsets', 'whole', 'offset', '__metadata__'),
        fc.jsonValue({ maxDepth: 3 }),
        fc.constantFrom(-1, 0.5, 4, 2 ** 31, 2 ** 53, 1e300),
        async (map, which, key, value, number) => {
          const bytes = encodeSafetensors(map);
          const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
          const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
          const names = [...map.keys()];
          const name = names[which % Math.max(names.length, 1)];
          if (key === '__metadata__' || name === undefined) header.__metadata__ = value;
          else if (key === 'whole')
            Object.defineProperty(header, name, { value, enumerable: true });
          else if (key === 'offset') header[name].data_offsets[which % 2] = number;
          else header[name][key] = value;
          await openOrRefuse(withHeader(bytes, header));
        },
      ),
      { numRuns: 500 },
    );
  });
});
