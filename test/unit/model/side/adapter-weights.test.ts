import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type AdapterWeights,
  createSideModel,
  encodeAdapterWeights,
  encodeSafetensors,
  exportParams,
  loadAdapterWeights,
  SIDE_NAMES,
  type SideModel,
  type SideShape,
} from '../../../../src/model/index.ts';
import { memoryByteSource } from '../../../../src/platform/byte-source.ts';
import {
  type Backend,
  cpuBackend,
  disposeTree,
  flatten,
  mapTree,
  random,
  randomNormal,
  scope,
  type Tree,
} from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';
import { channelAffine, SIDE_OPTIONS } from '../../../support/side.ts';

const SHAPE: SideShape = { layers: 2, width: 5, kinds: 2, classes: 3 };
const cpu = cpuBackend();
const source = (bytes: Uint8Array) => memoryByteSource(bytes, 'adapter_model.safetensors');

/** Parameters of the model's form with a random number in every place. */
function randomParams(
  model: SideModel,
  backend: Backend,
): Map<string, { shape: readonly number[]; values: Float32Array }> {
  return scope(() => {
    const rng = random(4);
    const fresh: Tree = model.init(rng, backend);
    return exportParams(mapTree(fresh, (leaf) => randomNormal(leaf.shape, 1, rng, backend)));
  });
}

const weightsOf = (model: SideModel, backend: Backend): AdapterWeights => ({
  params: randomParams(model, backend),
  standardizer: channelAffine(SHAPE, 1),
  calibration: channelAffine(SHAPE, 2),
});

describe('adapter weights', () => {
  for (const { name, backend } of backends()) {
    for (const side of SIDE_NAMES) {
      it(`${side} comes back bit for bit on ${name}, and nothing else is left there`, async () => {
        const model = createSideModel(side, SHAPE, SIDE_OPTIONS);
        const weights = weightsOf(model, backend);
        const before = backend.memory().bytes;
        const loaded = await loadAdapterWeights(
          source(encodeAdapterWeights(weights, model)),
          model,
          backend,
        );
        assert.equal(loaded.model, model);
        assert.deepEqual(exportParams(loaded.params), new Map(weights.params));
        assert.deepEqual(loaded.standardizer, weights.standardizer);
        assert.deepEqual(loaded.calibration, weights.calibration);
        disposeTree(loaded.params);
        assert.equal(backend.memory().bytes, before);
      });
    }
  }

  it('are a plain safetensors file that names its side network', () => {
    const model = createSideModel('probe', SHAPE, SIDE_OPTIONS);
    const bytes = encodeAdapterWeights(weightsOf(model, cpu), model);
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    const header = new TextDecoder().decode(bytes.subarray(8, 8 + length));
    const { __metadata__: metadata, ...tensors } = JSON.parse(header);
    assert.deepEqual(metadata, { format: 'mobillm-side', side: 'probe' });
    const shapes = Object.entries(tensors as Record<string, { dtype: string; shape: number[] }>);
    assert.deepEqual(shapes.map(([name, { dtype, shape }]) => [name, dtype, shape]).sort(), [
      ['bias', 'F32', [3]],
      ['calibration.mean', 'F32', [2, 2, 5]],
      ['calibration.scale', 'F32', [2, 2, 5]],
      ['standardizer.mean', 'F32', [2, 2, 5]],
      ['standardizer.scale', 'F32', [2, 2, 5]],
      ['weight', 'F32', [3, 10]],
    ]);
  });

  it('refuses what is missing, left over, or of another shape, by name', async () => {
    const model = createSideModel('parallel', SHAPE, SIDE_OPTIONS);
    const weights = weightsOf(model, cpu);
    const whole = new Map(weights.params);
    for (const name of ['standardizer', 'calibration'] as const) {
      for (const part of ['mean', 'scale'] as const) {
        whole.set(`${name}.${part}`, { shape: [2, 2, 5], values: weights[name][part] });
      }
    }
    const names = [...whole.keys()];
    assert.ok(names.includes('head.weight') && names.includes('alpha'));
    const bytes = cpu.memory().bytes;
    const refuses = async (tensors: typeof whole, message: RegExp) =>
      assert.rejects(loadAdapterWeights(source(encodeSafetensors(tensors)), model, cpu), {
        code: 'E_ADAPTER',
        message,
      });
    for (const name of names) {
      const without = new Map(whole);
      without.delete(name);
      await refuses(without, new RegExp(`adapter_model.safetensors: tensor ${name} is missing`));
      const { shape, values } = whole.get(name) as { shape: number[]; values: Float32Array };
      const turned = new Map(whole).set(name, { shape: [1, ...shape], values });
      await refuses(turned, new RegExp(`tensor ${name} is f32 \\[1,.*expected f32 \\[`, 'i'));
    }
    const more = new Map(whole).set('head.extra', { shape: [1], values: new Float32Array(1) });
    await refuses(more, /tensor head\.extra is not part of a parallel side network/);
    assert.equal(cpu.memory().bytes, bytes, 'a refused file leaves nothing on the backend');
    // Nothing of another side network either.
    const probe = createSideModel('probe', SHAPE, SIDE_OPTIONS);
    await assert.rejects(
      loadAdapterWeights(source(encodeAdapterWeights(weightsOf(probe, cpu), probe)), model, cpu),
      { code: 'E_ADAPTER' },
    );
    assert.ok(flatten(model.init(random(0), cpu)).size > 0);
  });
});
