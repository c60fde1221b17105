import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import type { StringTable } from '../../../../src/model/string-table.ts';
import { dequantizableTypes, dequantize } from '../../../../src/model/weights/dequantize.ts';
import { ggufNumber, ggufString, openGguf } from '../../../../src/model/weights/gguf.ts';
import { memoryByteSource } from '../../../../src/platform/byte-source.ts';
import { fileByteSource } from '../../../../src/platform/node.ts';
import { numelOf } from '../../../../src/tensor/shape.ts';
import {
  type GgufField,
  type GgufSpec,
  type GgufTensorSpec,
  writeGguf,
} from '../../../support/gguf-writer.ts';
import { modelPath, skipWithoutModel } from '../../../support/model.ts';

const fixtures = new URL('../../../fixtures/', import.meta.url);
const lowerCase = (name: string) => name.toLowerCase();
const f32 = (name: string, count: number): GgufTensorSpec => ({
  name,
  dims: [count],
  type: 0,
  data: new Uint8Array(new Float32Array(count).fill(1.5).buffer),
});

async function open(spec: GgufSpec | Uint8Array) {
  const bytes = spec instanceof Uint8Array ? spec : writeGguf(spec);
  return openGguf(memoryByteSource(bytes, 'test.gguf'));
}

describe('openGguf', () => {
  it('reads what the reference package wrote, and dequantizes as it does', async () => {
    const source = memoryByteSource(await readFile(new URL('tiny.gguf', fixtures)), 'tiny.gguf');
    const file = await openGguf(source);
    assert.equal(file.version, 3);
    const metadata = Object.fromEntries(file.metadata);
    assert.equal(metadata['general.architecture'], 'llama');
    assert.equal(metadata['test.u32'], 4_000_000_000);
    assert.equal(metadata['test.i32'], -5);
    assert.equal(metadata['test.f32'], 0.5);
    assert.equal(metadata['test.u64'], 2n ** 63n + 1n);
    assert.equal(metadata['test.bool'], true);
    assert.equal(metadata['test.text'], 'naïve ☕');
    assert.deepEqual([...(metadata['test.strings'] as StringTable)], ['a', '', 'ß']);
    assert.deepEqual(metadata['test.ints'], Int32Array.of(1, -2, 3));
    const expected = JSON.parse(await readFile(new URL('tiny-gguf.json', fixtures), 'utf8'));
    for (const [name, values] of Object.entries<number[]>(expected)) {
      const tensor = file.tensors.get(name);
      assert.ok(tensor);
      assert.equal(tensor.type.toLowerCase(), name);
      const got = dequantize(tensor.type, await file.readTensor(name), numelOf(tensor.shape));
      assert.deepEqual([...got], values, name);
    }
    assert.deepEqual(new Set(Object.keys(expected)), new Set(dequantizableTypes.map(lowerCase)));
    const known = file.tensors.get('iq4_nl');
    assert.deepEqual([known?.type, known?.shape, known?.byteLength], ['IQ4_NL', [2, 64], 72]);
    await assert.rejects(file.readTensor('none'), { code: 'E_GGUF_TENSOR' });
  });

  it('reads a version 2 file with its own alignment, and typed getters', async () => {
    const file = await open({
      version: 2,
      alignment: 8,
      metadata: [
        ['general.alignment', { type: 'uint32', value: 8 }],
        ['name', { type: 'string', value: 'x' }],
      ],
      tensors: [f32('a', 3), { ...f32('b', 6), dims: [3, 2] }, { ...f32('c', 1), dims: [] }],
    });
    assert.equal(file.version, 2);
    assert.deepEqual(file.tensors.get('b')?.shape, [2, 3]);
    assert.deepEqual(file.tensors.get('c')?.shape, []);
    assert.deepEqual(
      new Float32Array((await file.readTensor('a')).buffer),
      Float32Array.of(1.5, 1.5, 1.5),
    );
    assert.equal(ggufNumber(file, 'general.alignment'), 8);
    assert.equal(ggufNumber(file, 'other', 3), 3);
    assert.equal(ggufString(file, 'name'), 'x');
    assert.throws(() => ggufNumber(file, 'name'), { code: 'E_GGUF_METADATA' });
    assert.throws(() => ggufString(file, 'other'), { code: 'E_GGUF_METADATA' });
  });

  const strings = (count: number) => ({
    type: 'array' as const,
    items: Array.from({ length: count }, () => ({ type: 'string' as const, value: 'token' })),
  });
  it('reads headers larger than its window', async () => {
    const file = await open({ metadata: [['list', strings(30_000)]], tensors: [f32('a', 2)] });
    const list = file.metadata.get('list') as StringTable;
    assert.equal(list.length, 30_000);
    assert.ok([...list].every((token) => token === 'token'));
  });

  const nested = (depth: number): GgufField => ({
    type: 'array',
    items: depth > 1 ? [nested(depth - 1)] : [],
  });
  const cases: [string, GgufSpec | Uint8Array, string, RegExp][] = [
    ['an empty file', new Uint8Array(0), 'E_GGUF_MAGIC', /test\.gguf: is not a GGUF file/],
    ['another file', { magic: 0x04034b50 }, 'E_GGUF_MAGIC', /not a GGUF/],
    ['version 1', { version: 1 }, 'E_GGUF_VERSION', /version 1 .* \(at byte 4\)/],
    ['a big-endian file', { version: 0x03000000 }, 'E_GGUF_VERSION', /big-endian/],
    ['a header that stops', writeGguf({}).slice(0, 20), 'E_GGUF_TRUNCATED', /cut short/],
    ['absurd counts', { tensorCount: 2n ** 60n }, 'E_GGUF_TRUNCATED', /tensors are declared/],
    ['absurd metadata', { metadataCount: 2n ** 64n - 1n }, 'E_GGUF_TRUNCATED', /metadata entries/],
    [
      'a key twice',
      { metadata: [0, 1].map((value) => ['k', { type: 'uint8', value }]) },
      'E_GGUF_METADATA',
      /key k stands there twice/,
    ],
    [
      'a bool of 7',
      { metadata: [['k', { type: 'array', itemType: 7, items: [{ type: 'uint8', value: 7 }] }]] },
      'E_GGUF_METADATA',
      /bool value is 7/,
    ],
    [
      'an unknown value type',
      { metadata: [['k', { type: 'array', itemType: 13, items: [] }]] },
      'E_GGUF_METADATA',
      /value type 13/,
    ],
    ['deep arrays', { metadata: [['k', nested(9)]] }, 'E_GGUF_METADATA', /nested/],
    [
      'an alignment of 24',
      { metadata: [['general.alignment', { type: 'uint32', value: 24 }]] },
      'E_GGUF_METADATA',
      /alignment is 24/,
    ],
    ['a tensor twice', { tensors: [f32('a', 1), f32('a', 1)] }, 'E_GGUF_TENSOR', /a stands there/],
    [
      'tensors that overlap',
      { tensors: [f32('a', 9), { ...f32('b', 1), offset: 32 }] },
      'E_GGUF_TENSOR',
      /a and b overlap/,
    ],
    [
      'a tensor beyond the end',
      { tensors: [{ ...f32('a', 1), offset: 64 }] },
      'E_GGUF_TRUNCATED',
      /tensor a needs bytes \d+ to \d+, the file has/,
    ],
    [
      'an offset near 2^64',
      { tensors: [{ ...f32('a', 1), offset: 2n ** 64n - 32n }] },
      'E_GGUF_TRUNCATED',
      /tensor a needs/,
    ],
    [
      'a crooked offset',
      { tensors: [{ ...f32('a', 1), offset: 4 }, f32('b', 1)] },
      'E_GGUF_TENSOR',
      /no multiple of the alignment 32/,
    ],
    [
      'an unknown type',
      { tensors: [{ ...f32('a', 1), type: 99 }] },
      'E_GGUF_TYPE',
      /a has type 99/,
    ],
    ['rank 5', { tensors: [{ ...f32('a', 1), dims: [1, 1, 1, 1, 1] }] }, 'E_GGUF_TENSOR', /rank 5/],
    ['a dim of 0', { tensors: [{ ...f32('a', 1), dims: [0] }] }, 'E_GGUF_TENSOR', /empty/],
    [
      'dims that overflow',
      { tensors: [{ ...f32('a', 1), dims: [2n ** 40n, 2n ** 40n] }] },
      'E_GGUF_TENSOR',
      /too large/,
    ],
    [
      'half a block',
      { tensors: [{ ...f32('a', 1), dims: [48], type: 3 }] },
      'E_GGUF_TENSOR',
      /rows of 48, no multiple of Q4_1's block of 32/,
    ],
    [
      'a string longer than the file',
      {
        metadata: [
          ['k', { type: 'array', itemType: 8, items: [{ type: 'uint64', value: 2n ** 62n }] }],
        ],
      },
      'E_GGUF_TRUNCATED',
      /bytes of text/,
    ],
  ];
  for (const [what, spec, code, message] of cases) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(open(spec), { name: 'FormatError', code, message });
    });
  }

  it('reads the real model', { skip: skipWithoutModel() }, async () => {
    const source = await fileByteSource(modelPath() as string);
    const file = await openGguf(source);
    assert.equal(file.tensors.size, 272);
    assert.equal(ggufNumber(file, 'llama.block_count'), 30);
    assert.deepEqual(file.tensors.get('blk.29.attn_k.weight')?.shape, [192, 576]);
    const norm = file.tensors.get('output_norm.weight');
    assert.ok(norm);
    const values = dequantize(norm.type, await file.readTensor(norm.name), 576);
    assert.ok(values.every((value) => Number.isFinite(value) && Math.abs(value) < 100));
    await source.close();
  });
});

describe('dequantize', () => {
  const one = [0x00, 0x3c]; // f16 1.0
  const half = [0x00, 0x38]; // f16 0.5
  it('Q4_0: d (q - 8), low nibbles first', () => {
    const bytes = Uint8Array.of(
      ...half,
      ...Array.from({ length: 16 }, (_, j) => j | ((15 - j) << 4)),
    );
    const expected = Array.from({ length: 32 }, (_, i) => (i < 16 ? i - 8 : 31 - i - 8) * 0.5);
    assert.deepEqual([...dequantize('Q4_0', bytes, 32)], expected);
  });
  it('Q4_1: d q + m', () => {
    const bytes = Uint8Array.of(...half, ...one, 0xf0, ...new Array(15).fill(0x21));
    const expected = [1, ...new Array(15).fill(1.5), 8.5, ...new Array(15).fill(2)];
    assert.deepEqual([...dequantize('Q4_1', bytes, 32)], expected);
  });
  it('Q8_0: d q, signed', () => {
    const bytes = Uint8Array.of(...half, 0x80, 0x7f, 0xff, ...new Array(29).fill(2));
    assert.deepEqual(
      [...dequantize('Q8_0', bytes, 32)],
      [-64, 63.5, -0.5, ...new Array(29).fill(1)],
    );
  });
  it('BF16 keeps every bit: infinities, NaN, the smallest number', () => {
    const bytes = Uint8Array.of(0x80, 0x7f, 0x80, 0xff, 0xc0, 0x7f, 0x01, 0x00, 0x00, 0x80);
    const subnormal = 2 ** -133;
    assert.deepEqual(
      [...dequantize('BF16', bytes, 5)],
      [...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, subnormal, -0]],
    );
  });
  it('Q5_0 and Q5_1: the fifth bit of element j is bit j of the word', () => {
    const fifth = [0x01, 0x00, 0x02, 0x80]; // elements 0, 17 and 31
    const q5 = Array.from({ length: 32 }, (_, i) => ([0, 17, 31].includes(i) ? 16 : 0));
    const zeros = new Array(16).fill(0);
    assert.deepEqual(
      [...dequantize('Q5_0', Uint8Array.of(...half, ...fifth, ...zeros), 32)],
      q5.map((q) => (q - 16) * 0.5),
    );
    assert.deepEqual(
      [...dequantize('Q5_1', Uint8Array.of(...half, ...one, ...fifth, ...zeros), 32)],
      q5.map((q) => q * 0.5 + 1),
    );
  });
  it('F16 and F32 at odd addresses', () => {
    const bytes = Uint8Array.of(9, ...one, 0x00, 0xc0).subarray(1);
    assert.deepEqual([...dequantize('F16', bytes, 2)], [1, -2]);
    const floats = Uint8Array.of(9, 0, 0, 0x80, 0x3f).subarray(1);
    assert.deepEqual([...dequantize('F32', floats, 1)], [1]);
  });
  it('refuses what it cannot decode and lengths that do not fit', () => {
    assert.throws(() => dequantize('IQ4_NL', new Uint8Array(18), 32), {
      code: 'E_GGUF_TYPE',
      message:
        /IQ4_NL is not supported; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K$/,
    });
    assert.throws(() => dequantize('Q6_K', new Uint8Array(209), 256), { code: 'E_GGUF_TENSOR' });
    assert.throws(() => dequantize('Q8_0', new Uint8Array(33), 32), { code: 'E_GGUF_TENSOR' });
    assert.throws(() => dequantize('Q8_0', new Uint8Array(17), 16), { code: 'E_GGUF_TENSOR' });
  });
});
