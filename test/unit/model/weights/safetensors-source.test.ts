import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openSafetensors, safetensorsWeightSource } from '../../../../src/model/index.ts';
import { memoryByteSource } from '../../../../src/platform/byte-source.ts';
import { numberToF16 } from '../../../../src/tensor/index.ts';

const VALUES = [0, -0, 1, -1.5, 0.15625, 65_280];

/** Two by three values in each type, an integer tensor, and one of another shape. */
async function source() {
  const f32 = new Uint8Array(Float32Array.from(VALUES).buffer);
  const f16 = new Uint8Array(Uint16Array.from(VALUES, numberToF16).buffer);
  const upper = [...new Uint32Array(Float32Array.from(VALUES).buffer)].map((bits) => bits >>> 16);
  const bf16 = new Uint8Array(Uint16Array.from(upper).buffer);
  const parts: [string, string, Uint8Array][] = [
    ['f32', 'F32', f32],
    ['f16', 'F16', f16],
    ['bf16', 'BF16', bf16],
    ['position_ids', 'I64', new Uint8Array(48)],
  ];
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, dtype, data] of parts) {
    header[name] = { dtype, shape: [2, 3], data_offsets: [at, at + data.length] };
    at += data.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const head = new Uint8Array(8);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  const whole = Buffer.concat([head, json, ...parts.map(([, , data]) => data)]);
  const file = await openSafetensors(memoryByteSource(new Uint8Array(whole), 'm.safetensors'));
  return safetensorsWeightSource(file, 'print', { names: (name) => [`wrapped.${name}`, name] });
}

describe('safetensorsWeightSource', () => {
  for (const name of ['f32', 'f16', 'bf16']) {
    it(`reads ${name} to the bit`, async () => {
      const weights = await source();
      const matrix = await weights.matrix(name, 2, 3);
      assert.deepEqual(matrix.toFloat32(), Float32Array.from(VALUES));
      assert.equal(matrix.type, name.toUpperCase());
    });
  }

  it('looks under every name, and says which tensor is wrong', async () => {
    const weights = await source();
    assert.equal(weights.fingerprint, 'print');
    assert.ok(weights.has('f32'));
    assert.ok(!weights.has('f64'));
    const refused: [Promise<unknown>, RegExp][] = [
      [weights.matrix('f64', 2, 3), /m\.safetensors: tensor wrapped\.f64 is missing/],
      [weights.matrix('f32', 3, 2), /tensor f32 is \[2,3\], expected \[3,2\]/],
      [weights.vector('f32', 6), /tensor f32 is \[2,3\], expected \[6\]/],
      [weights.matrix('position_ids', 2, 3), /dtype I64; weights are read from F32, F16, BF16/],
    ];
    for (const [read, message] of refused) await assert.rejects(read, { code: 'E_MODEL', message });
  });
});
