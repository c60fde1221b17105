import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { dequantize, randomWeightSource } from '../../../../src/model/index.ts';

describe('randomWeightSource', () => {
  const read = async (seed: number, name: string) =>
    (await randomWeightSource(seed).matrix(name, 40, 50)).toFloat32();

  it('gives normal matrices of deviation 0.02 and norms of one', async () => {
    const values = await read(1, 'layers.0.qProj');
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    // 2,000 values: standard errors of 0.00045 and 0.0003.
    assert.ok(Math.abs(mean) < 0.0025, `${mean}`);
    assert.ok(Math.abs(deviation - 0.02) < 0.0015, `${deviation}`);
    assert.deepEqual(await randomWeightSource(1).vector('norm', 3), Float32Array.of(1, 1, 1));
  });

  it('is fixed by seed and name alone, in any order', async () => {
    const first = await read(1, 'a');
    await read(1, 'b');
    assert.deepEqual(await read(1, 'a'), first);
    assert.notDeepEqual(await read(1, 'b'), first);
    assert.notDeepEqual(await read(2, 'a'), first);
  });

  it('says what it is: f32 bytes, a fingerprint a seed, every name', async () => {
    const source = randomWeightSource(255);
    const matrix = await source.matrix('x', 2, 3);
    assert.deepEqual([matrix.rows, matrix.columns, matrix.type], [2, 3, 'F32']);
    assert.deepEqual(dequantize('F32', matrix.bytes, 6), matrix.toFloat32());
    assert.equal(source.fingerprint, 'ff'.padStart(64, '0'));
    assert.ok(source.has('anything'));
  });
});
