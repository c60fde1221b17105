import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ggufWeightSource, llamaGgufName, openGguf } from '../../../../src/model/index.ts';
import { memoryByteSource } from '../../../../src/platform/byte-source.ts';
import { FormatError } from '../../../../src/tensor/index.ts';
import { type GgufTensorSpec, writeGguf } from '../../../support/gguf-writer.ts';
import { permuteRows } from '../../../support/tiny-gguf.ts';

const HEAD_DIM = 6;
const COLUMNS = 32;

async function sourceOf(...tensors: GgufTensorSpec[]) {
  const file = await openGguf(memoryByteSource(writeGguf({ tensors }), 'x.gguf'));
  return ggufWeightSource(file, 'ab'.repeat(32), {
    name: llamaGgufName,
    interleavedHeads: HEAD_DIM,
  });
}

/** [rows, COLUMNS] whose elements tell their place. */
const numbered = (rows: number) => Float32Array.from({ length: rows * COLUMNS }, (_, i) => i);

const f32 = (name: string, values: Float32Array, dims: number[]): GgufTensorSpec => ({
  name,
  dims,
  type: 0,
  data: new Uint8Array(values.slice().buffer),
});

describe('ggufWeightSource', () => {
  for (const [ours, stored] of [
    ['layers.0.qProj', 'blk.0.attn_q.weight'],
    ['layers.12.kProj', 'blk.12.attn_k.weight'],
  ]) {
    it(`puts the rows of ${ours} back into the halves of each head`, async () => {
      for (const heads of [1, 2, 3]) {
        const rows = heads * HEAD_DIM;
        const values = numbered(rows);
        const permuted = permuteRows(values, HEAD_DIM, COLUMNS);
        assert.notDeepEqual(permuted, values);
        const source = await sourceOf(f32(stored, permuted, [COLUMNS, rows]));
        const matrix = await source.matrix(ours, rows, COLUMNS);
        assert.deepEqual(matrix.toFloat32(), values);
        assert.deepEqual([matrix.rows, matrix.columns, matrix.type], [rows, COLUMNS, 'F32']);
      }
    });
  }

  it('follows the row order literally: pairs 0 1 2 of a head of 6 lie at 0 2 4 and 1 3 5', async () => {
    const values = Float32Array.from({ length: 6 * COLUMNS }, (_, i) => Math.floor(i / COLUMNS));
    const source = await sourceOf(f32('blk.0.attn_q.weight', values, [COLUMNS, 6]));
    const matrix = (await source.matrix('layers.0.qProj', 6, COLUMNS)).toFloat32();
    const rows = Array.from({ length: 6 }, (_, r) => matrix[r * COLUMNS]);
    assert.deepEqual(rows, [0, 2, 4, 1, 3, 5]);
  });

  it('moves quantized rows as whole blocks', async () => {
    // Q8_0: 34 bytes for 32 numbers; the scale 1.0 as f16, then 32 times the row's number.
    const data = new Uint8Array(6 * 34);
    for (let row = 0; row < 6; row++) {
      data.set([0x00, 0x3c], row * 34);
      data.fill(row, row * 34 + 2, (row + 1) * 34);
    }
    const source = await sourceOf({ name: 'blk.0.attn_k.weight', dims: [32, 6], type: 8, data });
    const matrix = await source.matrix('layers.0.kProj', 6, 32);
    assert.equal(matrix.type, 'Q8_0');
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5].map((row) => matrix.bytes[row * 34 + 2]),
      [0, 2, 4, 1, 3, 5],
    );
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5].map((row) => matrix.toFloat32()[row * 32 + 31]),
      [0, 2, 4, 1, 3, 5],
    );
  });

  it('leaves every other matrix and vector as it lies', async () => {
    const values = numbered(6);
    const norm = Float32Array.from([1, 2, 3]);
    const source = await sourceOf(
      f32('blk.3.attn_v.weight', values, [COLUMNS, 6]),
      f32('blk.3.ffn_norm.weight', norm, [3]),
    );
    const matrix = await source.matrix('layers.3.vProj', 6, COLUMNS);
    assert.deepEqual(matrix.toFloat32(), values);
    assert.deepEqual(await source.vector('layers.3.postAttentionLayernorm', 3), norm);
    assert.equal(source.has('layers.3.vProj'), true);
    assert.equal(source.has('layers.2.vProj'), false);
    assert.equal(source.has('lmHead'), false);
    assert.equal(source.fingerprint, 'ab'.repeat(32));
  });

  it('refuses what is missing or of another shape, naming file and tensor', async () => {
    const source = await sourceOf(f32('token_embd.weight', numbered(6), [COLUMNS, 6]));
    const refusals: [Promise<unknown>, RegExp][] = [
      [source.matrix('lmHead', 6, COLUMNS), /^x\.gguf: tensor output\.weight is missing$/],
      [source.vector('norm', 3), /^x\.gguf: tensor output_norm\.weight is missing$/],
      [
        source.matrix('embedTokens', 7, COLUMNS),
        /token_embd\.weight is \[6,32\], expected \[7,32\]/,
      ],
      [source.matrix('embedTokens', COLUMNS, 6), /expected \[32,6\]/],
      [source.vector('embedTokens', 192), /expected \[192\]/],
    ];
    for (const [promise, message] of refusals) {
      await assert.rejects(promise, (error: Error) => {
        assert.ok(error instanceof FormatError);
        assert.equal(error.code, 'E_MODEL');
        assert.match(error.message, message);
        return true;
      });
    }
  });

  it('names a block format it cannot read', async () => {
    const data = new Uint8Array(6 * 136);
    const source = await sourceOf({ name: 'token_embd.weight', dims: [256, 6], type: 23, data });
    const refused = { code: 'E_GGUF_TYPE', message: /token_embd\.weight is IQ4_XS/ };
    await assert.rejects(source.matrix('embedTokens', 6, 256), refused);
    assert.throws(() => source.type('embedTokens', [6, 256]), refused);
  });
});
