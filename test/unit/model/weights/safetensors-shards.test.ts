import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeSafetensors, openHfFolder } from '../../../../src/model/index.ts';
import { memoryFolder } from '../../../support/memory-folder.ts';

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const shard = (...names: string[]) =>
  encodeSafetensors(
    new Map(names.map((name, i) => [name, { shape: [1], values: Float32Array.of(i + 1) }])),
  );

const open = (weight_map: unknown, files: Record<string, Uint8Array> = {}) =>
  openHfFolder(
    memoryFolder('m', {
      'config.json': bytes({}),
      'model.safetensors.index.json': bytes({ metadata: {}, weight_map }),
      ...files,
    }),
  );

describe('a sharded folder', () => {
  it('is one file of all tensors that its index names', async () => {
    const folder = await open(
      { a: 'one.safetensors', b: 'one.safetensors', c: 'two.safetensors' },
      { 'one.safetensors': shard('a', 'b'), 'two.safetensors': shard('spare', 'c') },
    );
    assert.deepEqual(folder.weightFiles, ['one.safetensors', 'two.safetensors']);
    assert.deepEqual([...folder.weights.tensors.keys()], ['a', 'b', 'c']);
    const c = await folder.weights.readTensor('c');
    assert.deepEqual(new Float32Array(c.buffer), Float32Array.of(2));
    await assert.rejects(folder.weights.readTensor('spare'), { code: 'E_SAFETENSORS' });
  });

  it('is not read where the whole is there', async () => {
    const folder = await open({ a: 'gone' }, { 'model.safetensors': shard('x') });
    assert.deepEqual(folder.weightFiles, ['model.safetensors']);
  });

  const refused: [string, unknown, string, RegExp][] = [
    ['no map', undefined, 'E_SAFETENSORS', /weight_map is no object of file names/],
    ['a list', ['a'], 'E_SAFETENSORS', /weight_map is no object/],
    ['numbers', { a: 1 }, 'E_SAFETENSORS', /weight_map is no object/],
    ['a path upwards', { a: '../other' }, 'E_SAFETENSORS', /"\.\.\/other" is no file name/],
    ['a path inwards', { a: 'x/y' }, 'E_SAFETENSORS', /"x\/y" is no file name/],
    ['a hidden file', { a: '.x' }, 'E_SAFETENSORS', /"\.x" is no file name/],
    ['a shard that is missing', { a: 'gone' }, 'E_MODEL', /m: its shard gone is missing/],
    ['a tensor that is elsewhere', { z: 'one' }, 'E_SAFETENSORS', /tensor "z" is not in one$/],
  ];
  for (const [what, map, code, message] of refused) {
    it(`is refused with ${what}`, async () => {
      await assert.rejects(open(map, { one: shard('a') }), { code, message });
    });
  }
});
