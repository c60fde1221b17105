import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ACTIVATION_NAMES, ACTIVATIONS, geluTanh } from '../../../../src/model/nn/activation.ts';
import { live, scope, tensor } from '../../../../src/tensor/index.ts';
import { backends } from '../../../support/backends.ts';

/** Four roundings of f32, and the kernels' exp. */
const CLOSE = 1e-6;

for (const { name, backend } of backends()) {
  describe(`geluTanh, ${name}`, () => {
    it('is x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2', () => {
      const values = Array.from({ length: 201 }, (_, i) => (i - 100) / 10);
      scope(() => {
        const x = tensor(Float32Array.from(values), [values.length], { backend });
        geluTanh(x)
          .toFloat32()
          .forEach((y, i) => {
            const v = values[i];
            const inner = Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3);
            const want = (v * (1 + Math.tanh(inner))) / 2;
            assert.ok(
              Math.abs(y - want) <= CLOSE * Math.max(1, Math.abs(v)),
              `${v}: ${y}, ${want}`,
            );
          });
      });
    });

    it('keeps nothing but its result', () => {
      scope(() => {
        const x = tensor(new Float32Array(8), [8], { backend });
        const before = live(backend).allocations;
        const y = geluTanh(x);
        assert.equal(live(backend).allocations, before + 1);
        y.dispose();
      });
    });
  });
}

describe('ACTIVATIONS', () => {
  it('go by the names in config.json', () => {
    assert.deepEqual(ACTIVATION_NAMES, ['relu', 'gelu', 'gelu_new', 'gelu_pytorch_tanh']);
    assert.notEqual(ACTIVATIONS.gelu, ACTIVATIONS.gelu_new);
  });
});
