import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LLAMA_LIBRARIES } from '../../../bench/peers/llama-libraries.ts';
import { onnxModel } from '../../../bench/peers/onnx-model.ts';
import { checkError, problemOf, relativeError } from '../../../bench/peers/problem.ts';
import { requantized } from '../../../bench/peers/requantize.ts';
import { GEMM_TARGETS, MODEL_TARGETS, verdict } from '../../../bench/peers/targets.ts';
import { valuesOf } from '../../../bench/values.ts';
import { dequantize } from '../../../src/model/weights/dequantize.ts';
import { openGguf } from '../../../src/model/weights/gguf.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { numberToF16 } from '../../../src/tensor/dtype.ts';
import { writeGguf } from '../../support/gguf-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'mobillm-peers-'));
after(() => rmSync(folder, { recursive: true }));

test('an ONNX file is the messages of its specification', () => {
  const model = onnxModel({
    nodes: [{ op: 'Neg', inputs: ['x'], outputs: ['y'], attributes: { k: 300 } }],
    constants: [{ name: 'w', dims: [2], data: Float32Array.of(1, 2) }],
    inputs: [{ name: 'x', element: 'float32', dims: [2] }],
    outputs: [],
  });
  const hex = Buffer.from(model).toString('hex');
  // IR version 10; then the graph, and in it the node: 0a "x", 12 "y", 22 "Neg", 2a "k" = 300, type INT.
  assert.ok(hex.startsWith('080a3a'));
  assert.ok(hex.includes('0a0178120179'), 'names of input and output');
  assert.ok(hex.includes('22034e6567'), 'name of the operation');
  assert.ok(hex.includes('2a090a016b18ac02a00102'), 'attribute k = 300');
  // dims 2, type float32, name w, eight raw bytes.
  assert.ok(hex.includes('0802100142 0177 4a08 0000803f 00000040'.replaceAll(' ', '')));
});

test('a result off by more than its format allows is refused', () => {
  const problem = problemOf(3, 64, 8);
  const exact = new Float32Array(3 * 8);
  for (const [row, values] of problem.reference) exact.set(values, row * 8);
  const engine = {
    engine: 'e',
    variant: 'v',
    format: 'int8',
    run: () => exact,
    dispose() {},
  } as const;
  assert.ok(checkError(problem, engine, exact) < 1e-6);
  const shifted = exact.map((_, i) => exact[(i + 1) % exact.length]);
  assert.throws(
    () => checkError(problem, engine, shifted),
    /^Error: e v: off by .* int8 is allowed/,
  );
  assert.throws(
    () => relativeError(problem, exact.subarray(1)),
    /23 numbers came out instead of 24/,
  );
});

/** A file of one Q4_1 matrix and one f32 vector. */
function q41File(): { path: string; values: Float32Array; vector: Uint8Array } {
  const [rows, width] = [4, 64];
  const random = valuesOf(rows * width, 5);
  const data = new Uint8Array((rows * width * 20) / 32);
  const view = new DataView(data.buffer);
  for (let block = 0; block < (rows * width) / 32; block++) {
    const at = block * 20;
    view.setUint16(at, numberToF16(0.125), true);
    view.setUint16(at + 2, numberToF16(-1), true);
    for (let j = 0; j < 16; j++) {
      const code = (value: number) => Math.round((value + 1) * 7.5);
      data[at + 4 + j] = code(random[block * 32 + j]) | (code(random[block * 32 + j + 16]) << 4);
    }
  }
  const vector = new Uint8Array(Float32Array.of(1, 2, 3).buffer);
  const path = join(folder, 'model.Q4_1.gguf');
  writeFileSync(
    path,
    writeGguf({
      metadata: [['general.architecture', { type: 'string', value: 'llama' }]],
      tensors: [
        { name: 'm', dims: [width, rows], type: 3, data },
        { name: 'v', dims: [3], type: 0, data: vector },
      ],
    }),
  );
  return { path, values: dequantize('Q4_1', data, rows * width), vector };
}

test('a file in another type of llama.cpp holds the same weights, and all else as it was', async () => {
  const { path, values, vector } = q41File();
  // Half a step of the largest value in a block; Q4_0's codes end one step before it on one side.
  for (const [type, bound] of [
    ['Q8_0', 0.5 / 127],
    ['Q4_0', 1 / 8],
  ] as const) {
    const target = await requantized(path, type, folder);
    const file = await openGguf(memoryByteSource(new Uint8Array(readFileSync(target))));
    assert.equal(file.metadata.get('general.architecture'), 'llama');
    assert.equal(file.tensors.get('m')?.type, type);
    assert.deepEqual(file.tensors.get('m')?.shape, [4, 64]);
    assert.deepEqual(await file.readTensor('v'), vector);
    const got = dequantize(type, await file.readTensor('m'), values.length);
    for (let block = 0; block < values.length; block += 32) {
      const largest = Math.max(...values.subarray(block, block + 32).map(Math.abs));
      for (let i = block; i < block + 32; i++) {
        // f16 scales round by 2^-11.
        assert.ok(Math.abs(got[i] - values[i]) <= largest * (bound + 2 ** -11), `${type} [${i}]`);
      }
    }
  }
});

test('targets: what was reached, met, missed, or only aimed at', () => {
  assert.equal(verdict(2, undefined), '');
  assert.equal(verdict(2, { least: 1.3, aim: 1.8 }), '1.3x, aim 1.8x: reached');
  assert.equal(verdict(1.5, { least: 1.3, aim: 1.8 }), '1.3x, aim 1.8x: met');
  assert.equal(verdict(1, { least: 1.3, aim: 1.8 }), '1.3x, aim 1.8x: missed');
  assert.equal(verdict(0.5, { least: 0, aim: 0.7 }), 'aim 0.7x: not reached');
  assert.equal(Object.keys(GEMM_TARGETS).length, 6);
  const libraries = LLAMA_LIBRARIES.map(({ name }) => `llama.cpp ${name}/pp128`);
  assert.ok(libraries.every((name) => name in MODEL_TARGETS));
});
