import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { appendToCache, newKvCache } from '../../../../src/model/nn/kv-cache.ts';
import { live, ShapeError, scope, type Tensor, tensor } from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';

for (const { name, backend } of backends()) {
  describe(`KvCache, ${name}`, () => {
    const rows = (from: number, count: number) => {
      const values = Float32Array.from({ length: count * 6 }, (_, i) => from * 6 + i);
      return tensor(values, [count, 2, 3], { backend });
    };
    const head = (x: Tensor, count: number) => [...x.toFloat32().subarray(0, count)];

    it('puts rows behind those held, in the layer named and no other', () => {
      scope(() => {
        const cache = newKvCache(2, 5, 2, 3, backend);
        for (const one of [...cache.k, ...cache.v]) one.write(new Float32Array(30));
        appendToCache(cache, 1, rows(0, 2), rows(100, 2));
        cache.length = 2;
        appendToCache(cache, 1, rows(2, 3), rows(102, 3));
        cache.length = 5;
        assert.deepEqual(
          head(cache.k[1], 30),
          Array.from({ length: 30 }, (_, i) => i),
        );
        assert.deepEqual(
          head(cache.v[1], 30),
          Array.from({ length: 30 }, (_, i) => 600 + i),
        );
        assert.ok(cache.k[0].toFloat32().every((x) => x === 0));
        appendToCache(cache, 1, rows(9, 0), rows(9, 0));
        assert.throws(() => appendToCache(cache, 1, rows(0, 1), rows(0, 1)), {
          name: ShapeError.name,
          message: 'kvCache: 5 + 1 tokens exceed the capacity of 5',
        });
      });
    });

    it('holds two floats a layer, head and channel for each token, until disposed', () => {
      const before = live(backend).bytes;
      const cache = newKvCache(3, 7, 2, 4, backend);
      assert.equal(live(backend).bytes - before, 2 * 3 * 7 * 2 * 4 * 4);
      cache.dispose();
      cache.dispose();
      assert.equal(live(backend).bytes, before);
    });
  });
}
