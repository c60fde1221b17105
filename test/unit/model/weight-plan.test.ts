import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  loadPlan,
  plannedBytes,
  plannedWeights,
  randomWeightSource,
  type WeightSource,
} from '../../../src/model/index.ts';
import { layers, matrix, table, vector } from '../../../src/model/weight-plan.ts';
import { cpuBackend, FormatError, live, Tensor } from '../../../src/tensor/index.ts';

const plan = {
  words: matrix(5, 32),
  places: table(3, 32),
  layers: layers(2, { proj: matrix(4, 32), projBias: vector(4) }),
  head: undefined,
};

const backend = cpuBackend();

describe('a plan of weights', () => {
  it('names every weight by its path', () => {
    assert.deepEqual(
      Array.from(plannedWeights(plan), ([name, { shape }]) => [name, ...shape]),
      [
        ['words', 5, 32],
        ['places', 3, 32],
        ['layers.0.proj', 4, 32],
        ['layers.0.projBias', 4],
        ['layers.1.proj', 4, 32],
        ['layers.1.projBias', 4],
      ],
    );
  });

  for (const precision of ['f32', 'int8', 'int4'] as const) {
    it(`becomes a tree of parameters of the bytes told before, ${precision}`, async () => {
      const before = live(backend).bytes;
      const source = randomWeightSource(1);
      const seen: [number, number][] = [];
      const params = await loadPlan(plan, source, precision, backend, (...at) => seen.push(at));
      assert.deepEqual(seen, [
        [1, 3],
        [2, 3],
        [3, 3],
      ]);
      assert.equal(live(backend).bytes - before, plannedBytes(plan, source, precision));
      assert.equal(params.words instanceof Tensor, precision === 'f32');
      assert.deepEqual(params.places.shape, [3, 32]);
      assert.equal(params.layers.length, 2);
      assert.deepEqual(params.layers[1].projBias.toFloat32(), new Float32Array(4));
      assert.equal(params.head, undefined);
      const all = [params.words, params.places, ...params.layers.flatMap(Object.values)];
      for (const weight of all) weight.dispose();
      assert.equal(live(backend).bytes, before);
    });
  }

  it('gives all back when one cannot be had', async () => {
    const before = live(backend).bytes;
    const source: WeightSource = {
      ...randomWeightSource(1),
      async vector(name) {
        throw new FormatError(`${name} is missing`, 'E_MODEL');
      },
    };
    await assert.rejects(loadPlan(plan, source, 'int8', backend), /layers\.0\.projBias/);
    assert.equal(live(backend).bytes, before);
  });
});
