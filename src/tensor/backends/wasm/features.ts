/**
 * `() => v128` in the smallest module there is: `body` are the instructions between the empty
 * list of locals and `end`.
 */
function moduleOf(...body: number[]): Uint8Array<ArrayBuffer> {
  const header = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
  const type = [0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b];
  const functions = [0x03, 0x02, 0x01, 0x00];
  const code = [0x0a, body.length + 4, 0x01, body.length + 2, 0x00, ...body, 0x0b];
  return new Uint8Array([...header, ...type, ...functions, ...code]);
}

/** `i32.const 0, i8x16.splat`: a vector of zeros. */
const ZEROS = [0x41, 0x00, 0xfd, 0x0f];

/** Whether the engine knows 128-bit vectors. */
export function hasSimd128(): boolean {
  return WebAssembly.validate(moduleOf(...ZEROS));
}

/** Whether the engine knows relaxed vectors: `f32x4.relaxed_madd`, opcode 0x105. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(moduleOf(...ZEROS, ...ZEROS, ...ZEROS, 0xfd, 0x85, 0x02));
}
