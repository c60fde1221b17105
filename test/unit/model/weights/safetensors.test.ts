import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeSafetensors, openSafetensors } from '../../../../src/model/index.ts';
import { memoryByteSource } from '../../../../src/platform/byte-source.ts';
import { FormatError } from '../../../../src/tensor/index.ts';

const open = (bytes: Uint8Array) => openSafetensors(memoryByteSource(bytes, 'a.safetensors'));

/** A file with this header and so many bytes of data. */
function file(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === 'string' ? header : JSON.stringify(header),
  );
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const f32 = (from: number, to: number, ...shape: number[]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [from, to],
});

describe('encodeSafetensors', () => {
  it('writes the format byte by byte', () => {
    const bytes = encodeSafetensors(
      new Map([['w', { shape: [1, 2], values: Float32Array.of(1, -2) }]]),
      { format: 'pt' },
    );
    const header =
      '{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}';
    const padded = Math.ceil(header.length / 8) * 8;
    assert.equal(bytes.length, 8 + padded + 8);
    assert.deepEqual([...bytes.subarray(0, 8)], [padded, 0, 0, 0, 0, 0, 0, 0]);
    assert.equal(new TextDecoder().decode(bytes.subarray(8, 8 + padded)), header.padEnd(padded));
    assert.deepEqual([...bytes.subarray(8 + padded)], [0, 0, 128, 63, 0, 0, 0, 192]);
  });

  it('refuses values that do not fill the shape, and the name of the metadata', () => {
    const values = Float32Array.of(1, 2, 3);
    assert.throws(() => encodeSafetensors(new Map([['w', { shape: [2], values }]])), FormatError);
    assert.throws(
      () => encodeSafetensors(new Map([['__metadata__', { shape: [3], values }]])),
      FormatError,
    );
  });

  it('keeps tensors whose names mean something to JavaScript', async () => {
    const tensors = new Map(
      ['z', '__proto__', '1', '0', 'constructor', 'é"\\\n'].map((name, i) => [
        name,
        { shape: [i], values: new Float32Array(i).fill(i) },
      ]),
    );
    const opened = await open(encodeSafetensors(tensors));
    assert.deepEqual([...opened.tensors.keys()].sort(), [...tensors.keys()].sort());
    for (const [name, { values }] of tensors) {
      const bytes = await opened.readTensor(name);
      assert.deepEqual(new Float32Array(bytes.buffer), values, name);
    }
  });
});

describe('openSafetensors', () => {
  it('reads what others write: dtypes, any order, a blank header, metadata', async () => {
    const opened = await open(
      file(
        {
          b: { dtype: 'F16', shape: [2, 1], data_offsets: [4, 8] },
          a: { dtype: 'I8', shape: [4], data_offsets: [0, 4] },
          scalar: { dtype: 'I32', shape: [], data_offsets: [8, 12] },
          __metadata__: { format: 'pt' },
        },
        12,
      ),
    );
    assert.deepEqual(opened.metadata, { format: 'pt' });
    assert.equal(opened.tensors.get('b')?.type, 'F16');
    assert.deepEqual(opened.tensors.get('scalar')?.shape, []);
    assert.equal((await opened.readTensor('scalar')).length, 4);
    const empty = await open(file('{}     ', 0));
    assert.equal(empty.tensors.size, 0);
    assert.deepEqual(empty.metadata, {});
  });

  const refused: [string, Uint8Array, RegExp][] = [
    ['no bytes', new Uint8Array(0), /0 bytes/],
    ['half a length', new Uint8Array(7), /7 bytes/],
    ['a header longer than the file', file('{}', 0).slice(0, 9), /does not fit/],
    ['a header of 2^63 bytes', Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128, 123, 125), /does not fit/],
    ['a header that is no text', file('{}', 0).fill(0xff, 8), /no JSON/],
    ['a header that is cut off', file('{"a":', 0), /no JSON/],
    ['an empty header', file('', 0), /no JSON/],
    ['a header that is a list', file([], 0), /no JSON object/],
    ['a header that is null', file('null', 0), /no JSON object/],
    ['a tensor that is null', file({ a: null }, 0), /tensor a/],
    ['a dtype of its own', file({ a: { ...f32(0, 4, 1), dtype: 'F13' } }, 4), /F13/],
    ['no dtype', file({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /dtype/],
    [
      'a dtype out of a prototype',
      file({ a: { ...f32(0, 4, 1), dtype: 'constructor' } }, 4),
      /dtype/,
    ],
    ['a negative length', file({ a: f32(0, 4, -1) }, 4), /shape/],
    ['half a length', file({ a: f32(0, 4, 1.5) }, 4), /shape/],
    ['a shape in words', file({ a: { ...f32(0, 4), shape: '1' } }, 4), /shape/],
    ['a shape beyond all files', file({ a: f32(0, 4, 2 ** 52, 2 ** 52) }, 4), /shape/],
    ['offsets backwards', file({ a: f32(4, 0, 1) }, 4), /tensor a/],
    ['three offsets', file({ a: { ...f32(0, 4, 1), data_offsets: [0, 4, 8] } }, 4), /data_offsets/],
    ['fewer bytes than the shape', file({ a: f32(0, 4, 2) }, 4), /tensor a/],
    ['a tensor behind the end', file({ a: f32(0, 8, 2) }, 4), /end/],
    ['an overlap', file({ a: f32(0, 8, 2), b: f32(4, 8, 1) }, 8), /overlaps/],
    ['a hole', file({ a: f32(0, 4, 1), b: f32(8, 12, 1) }, 12), /hole/],
    ['bytes nobody owns', file({ a: f32(0, 4, 1) }, 8), /end/],
    ['metadata that is a list', file({ __metadata__: ['a'] }, 0), /__metadata__/],
    ['metadata of numbers', file({ __metadata__: { a: 1 } }, 0), /__metadata__/],
    ['metadata that is null', file({ __metadata__: null }, 0), /__metadata__/],
  ];
  for (const [what, bytes, pattern] of refused) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(open(bytes), (error: Error) => {
        assert.ok(error instanceof FormatError, `${error}`);
        assert.equal(error.code, 'E_SAFETENSORS');
        assert.match(error.message, /^a\.safetensors: [^\n]+$/);
        assert.match(error.message, pattern);
        return true;
      });
    });
  }

  it('names a tensor that is not there', async () => {
    const opened = await open(file({}, 0));
    await assert.rejects(opened.readTensor('head.weight'), {
      code: 'E_SAFETENSORS',
      message: 'a.safetensors: tensor head.weight is missing',
    });
  });
});
