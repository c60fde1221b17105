import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { modelOfGguf, openGguf } from '../../../src/model/index.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { cpuBackend } from '../../../src/tensor/index.ts';
import { type GgufSpec, writeGguf } from '../../support/gguf-writer.ts';
import { tinyGguf } from '../../support/tiny-gguf.ts';
import { tinyModel } from '../../support/tiny-model.ts';

const open = (bytes: Uint8Array) => openGguf(memoryByteSource(bytes, 'tiny.gguf'));

/** The tiny model with an output head of its own. */
function untied(): GgufSpec {
  const spec = tinyGguf(1);
  const tensors = spec.tensors ?? [];
  return { ...spec, tensors: [...tensors, { ...tensors[0], name: 'output.weight' }] };
}

describe('weightBytes', () => {
  for (const [what, bytes] of [
    ['of several types', tinyModel()],
    ['with a head of its own', writeGguf(untied())],
  ] as const) {
    it(`is what a model ${what} takes once loaded`, async () => {
      const file = await open(bytes);
      const stored = modelOfGguf(file);
      for (const precision of ['int8', 'int4', 'f32'] as const) {
        const model = await stored.load(stored.weights(''), precision, cpuBackend());
        assert.equal(stored.weightBytes(precision), model.weightBytes, precision);
        model.dispose();
      }
    });
  }

  it('says which tensor is missing, or of a type that cannot be decoded', async () => {
    const spec = tinyGguf(1);
    const tensors = spec.tensors ?? [];
    const down = 'blk.1.ffn_down.weight';
    const without = await open(
      writeGguf({ ...spec, tensors: tensors.filter(({ name }) => name !== down) }),
    );
    assert.throws(() => modelOfGguf(without).weightBytes('int8'), {
      code: 'E_MODEL',
      message: `tiny.gguf: tensor ${down} is missing`,
    });
    // IQ4_NL: 32 elements in 18 bytes.
    const [embedding, ...others] = tensors;
    const data = new Uint8Array((embedding.data.length / 4 / 32) * 18);
    const coded = await open(
      writeGguf({ ...spec, tensors: [{ ...embedding, type: 20, data }, ...others] }),
    );
    assert.throws(() => modelOfGguf(coded).weightBytes('f32'), {
      code: 'E_GGUF_TYPE',
      message: /token_embd\.weight is IQ4_NL, which is not supported; supported are F32, /,
    });
  });
});
