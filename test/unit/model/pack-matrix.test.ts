import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import {
  openGguf,
  packedMatrixBytes,
  packMatrix,
  type StoredMatrix,
} from '../../../src/model/index.ts';
import { dequantizableTypes, dequantize } from '../../../src/model/weights/dequantize.ts';
import type { GgufTensor } from '../../../src/model/weights/gguf.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { packedByteLength, packQb4w, packQc8w } from '../../../src/quant/index.ts';
import { cpuBackend, Tensor } from '../../../src/tensor/index.ts';

const backend = cpuBackend();
const fixture = new URL('../../fixtures/tiny.gguf', import.meta.url);

/** Every decodable type's matrix out of the fixture. */
async function matrices(): Promise<StoredMatrix[]> {
  const file = await openGguf(memoryByteSource(await readFile(fixture), 'tiny.gguf'));
  return Promise.all(
    dequantizableTypes.map(async (type) => {
      const { shape } = file.tensors.get(type.toLowerCase()) as GgufTensor;
      const [rows, columns] = shape;
      const bytes = await file.readTensor(type.toLowerCase());
      const toFloat32 = () => dequantize(type, bytes, rows * columns);
      return { rows, columns, type, bytes, toFloat32 };
    }),
  );
}

describe('packMatrix', () => {
  for (const precision of ['f32', 'int8', 'int4'] as const) {
    it(`${precision}: packs every type that can be decoded, in the bytes foretold`, async () => {
      for (const matrix of await matrices()) {
        const { rows, columns, type } = matrix;
        const packed = packMatrix(matrix, precision, backend);
        const bytes = packed instanceof Tensor ? 4 * packed.numel : packed.byteLength;
        assert.equal(bytes, packedMatrixBytes(rows, columns, type, precision), type);
        if (packed instanceof Tensor) assert.deepEqual(packed.toFloat32(), matrix.toFloat32());
        packed.dispose();
      }
    });
  }

  it('int4 keeps what a file holds in 5 to 8 bits in 8, and plain numbers in 4', async () => {
    const formats: Record<string, string> = {};
    for (const matrix of await matrices()) {
      const packed = packMatrix(matrix, 'int4', backend);
      formats[matrix.type] = packed instanceof Tensor ? 'f32' : packed.format;
      packed.dispose();
    }
    const four = ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q2_K', 'Q3_K', 'Q4_K'];
    for (const [type, format] of Object.entries(formats)) {
      assert.equal(format, four.includes(type) ? 'qb4w' : 'qc8w', type);
    }
  });
});

describe('packedByteLength', () => {
  it('is what the packers take, at tile and group edges', () => {
    for (const n of [1, 7, 8, 9, 17]) {
      for (const k of [1, 31, 32, 33, 127, 128, 129, 288]) {
        const weight = new Float32Array(n * k).fill(0.5);
        for (const groupSize of [32, 64, 128] as const) {
          const int4 = packQb4w(weight, n, k, { groupSize, backend });
          assert.equal(int4.byteLength, packedByteLength('qb4w', n, k, groupSize));
          int4.dispose();
        }
        for (const groupSize of [32, 128, k]) {
          const int8 = packQc8w(weight, n, k, { groupSize, backend });
          assert.equal(int8.byteLength, packedByteLength('qc8w', n, k, groupSize));
          int8.dispose();
        }
      }
    }
    assert.throws(() => packedByteLength('qb4w', 4, 64, 33), { code: 'E_SHAPE' });
    assert.throws(() => packedByteLength('qc8w', 0, 64, 32), { code: 'E_SHAPE' });
  });
});
