// SmolLM2's 4-bit GGUF in llama.cpp's other types, made from the same weights: llama.cpp is fastest on
// Q4_0 and Q8_0, and comparing with its slowest type would flatter us.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { dequantize } from '../../src/model/weights/dequantize.ts';
import { openGguf } from '../../src/model/weights/gguf.ts';
import { memoryByteSource } from '../../src/platform/byte-source.ts';
import { numberToF16 } from '../../src/tensor/dtype.ts';

/** Types that matrices are rewritten to: ggml's number, bytes of a block of 32, and how one is made. */
const TYPES = {
  Q4_0: { id: 2, blockBytes: 18, encode: encodeQ40 },
  Q8_0: { id: 8, blockBytes: 34, encode: encodeQ80 },
} as const;

/** A type that `requantized` makes. */
export type RequantizedType = keyof typeof TYPES;

const BLOCK = 32;

/** Value of largest magnitude, with its sign. */
function extreme(x: Float32Array): number {
  let most = 0;
  for (const value of x) if (Math.abs(value) > Math.abs(most)) most = value;
  return most;
}

/** f16 scale, then 16 bytes: value j low, value j + 16 high; codes 0..15 stand for -8..7. */
function encodeQ40(x: Float32Array, out: DataView, at: number): void {
  const scale = extreme(x) / -8;
  out.setUint16(at, numberToF16(scale), true);
  const code = (value: number) =>
    scale === 0 ? 8 : Math.min(15, Math.max(0, Math.round(value / scale) + 8));
  for (let j = 0; j < 16; j++) out.setUint8(at + 2 + j, code(x[j]) | (code(x[j + 16]) << 4));
}

/** f16 scale, then 32 signed bytes. */
function encodeQ80(x: Float32Array, out: DataView, at: number): void {
  const scale = Math.abs(extreme(x)) / 127;
  out.setUint16(at, numberToF16(scale), true);
  for (let j = 0; j < BLOCK; j++) {
    out.setInt8(at + 2 + j, scale === 0 ? 0 : Math.round(x[j] / scale));
  }
}

/** Bytes of a tensor's entry in the header (GGUF specification, `gguf_tensor_info_t`). */
function entryOf(name: string, shape: readonly number[], type: number, offset: number): Uint8Array {
  const text = new TextEncoder().encode(name);
  const entry = new Uint8Array(8 + text.length + 4 + 8 * shape.length + 4 + 8);
  const view = new DataView(entry.buffer);
  view.setBigUint64(0, BigInt(text.length), true);
  entry.set(text, 8);
  let at = 8 + text.length;
  view.setUint32(at, shape.length, true);
  at += 4;
  for (const length of shape.toReversed()) {
    view.setBigUint64(at, BigInt(length), true);
    at += 8;
  }
  view.setUint32(at, type, true);
  view.setBigUint64(at + 4, BigInt(offset), true);
  return entry;
}

const ALIGNMENT = 32;
const aligned = (value: number) => Math.ceil(value / ALIGNMENT) * ALIGNMENT;

/**
 * The file with its Q4_1 matrices in another type; everything else, metadata included, stays as it is.
 * Kept in `folder` and made only once.
 * @throws Error when the file is not laid out as llama.cpp writes it
 */
export async function requantized(
  path: string,
  type: RequantizedType,
  folder: string,
): Promise<string> {
  const target = join(folder, basename(path).replace(/Q4_1/, type));
  if (existsSync(target)) return target;
  const bytes = readFileSync(path);
  const file = await openGguf(memoryByteSource(bytes, path));
  const { id, blockBytes, encode } = TYPES[type];
  const tensors = [...file.tensors.values()];
  const first = Buffer.from(entryOf(tensors[0].name, tensors[0].shape, 0, 0)).subarray(0, -12);
  const headerEnd = bytes.indexOf(first);
  if (headerEnd < 0) throw new Error(`${path}: its tensors' entries are not where they should be`);

  const entries: Uint8Array[] = [];
  const data: Uint8Array[] = [];
  let offset = 0;
  const ids = { F32: 0, Q4_1: 3, Q8_0: 8 } as Record<string, number>;
  for (const tensor of tensors) {
    let raw = await file.readTensor(tensor.name);
    let number = ids[tensor.type];
    if (number === undefined) throw new Error(`${path}: ${tensor.name} is ${tensor.type}`);
    if (tensor.type === 'Q4_1') {
      const count = tensor.shape.reduce((a, b) => a * b);
      const values = dequantize(tensor.type, raw, count);
      raw = new Uint8Array((count / BLOCK) * blockBytes);
      const view = new DataView(raw.buffer);
      for (let b = 0; b < count / BLOCK; b++) {
        encode(values.subarray(b * BLOCK, (b + 1) * BLOCK), view, b * blockBytes);
      }
      number = id;
    }
    entries.push(entryOf(tensor.name, tensor.shape, number, offset));
    const whole = new Uint8Array(aligned(raw.length));
    whole.set(raw);
    data.push(whole);
    offset += whole.length;
  }
  const header = Buffer.concat([bytes.subarray(0, headerEnd), ...entries]);
  const padding = Buffer.alloc(aligned(header.length) - header.length);
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${target}.${process.pid}`, Buffer.concat([header, padding, ...data]));
  renameSync(`${target}.${process.pid}`, target);
  return target;
}
