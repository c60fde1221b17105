import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AddressMap } from '../../../src/tensor/backends/wasm/address-map.ts';

const key = fc.oneof(
  fc.nat(200).map((n) => n * 64),
  fc.integer({ min: 0, max: 2 ** 32 - 2 }),
);
const value = fc.integer({ min: 0, max: 2 ** 32 - 1 });

describe('AddressMap', () => {
  test('does what a Map does', () => {
    const step = fc.oneof(
      fc.record({ key, value }),
      fc.record({ key, value: fc.constant(undefined) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const map = new AddressMap();
        const model = new Map<number, number>();
        for (const { key, value } of steps) {
          if (value === undefined) {
            map.delete(key);
            model.delete(key);
          } else {
            map.set(key, value);
            model.set(key, value);
          }
          assert.equal(map.size, model.size);
        }
        assert.deepEqual(new Map(map), model);
        for (const { key } of steps) assert.equal(map.get(key), model.get(key));
      }),
    );
  });

  test('the last key there can be, and a key that never was', () => {
    const map = new AddressMap();
    map.set(2 ** 32 - 2, 2 ** 32 - 1);
    assert.equal(map.get(2 ** 32 - 2), 2 ** 32 - 1);
    assert.equal(map.get(64), undefined);
    map.delete(64);
    assert.equal(map.size, 1);
  });
});
