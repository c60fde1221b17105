import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ProtocolError } from '../../../src/tensor/errors.ts';
import { encodeFrame, type Frame, FrameDecoder } from '../../../src/transport/frames.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const frames = fc.record(
  {
    type: fc.integer({ min: 0, max: 255 }),
    job: u32,
    sequence: u32,
    payload: fc.uint8Array({ maxLength: 50 }),
  },
  { noNullPrototype: true },
);

/** Cuts bytes at the given places, taken modulo the length; equal places make empty chunks. */
function chunksOf(bytes: Uint8Array, places: number[]): Uint8Array[] {
  const cuts = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  return [0, ...cuts].map((start, i) => bytes.slice(start, [...cuts, bytes.length][i]));
}

/** What a decoder makes of chunks: frames, then perhaps a fault. */
function decode(chunks: Uint8Array[]): { frames: Frame[]; fault?: string; pending: number } {
  const decoder = new FrameDecoder(() => 60);
  const seen: Frame[] = [];
  // The payloads are copied: a fault must not depend on what becomes of the chunk.
  const keep = (frame: Frame) => seen.push({ ...frame, payload: frame.payload.slice() });
  try {
    for (const chunk of chunks) decoder.push(chunk, keep);
  } catch (error) {
    assert.ok(error instanceof ProtocolError);
    return { frames: seen, fault: error.code, pending: 0 };
  }
  return { frames: seen, pending: decoder.pendingBytes };
}

test('any chunking decodes alike', () => {
  fc.assert(
    fc.property(
      fc.array(frames, { maxLength: 6 }),
      fc.array(fc.nat(600), { maxLength: 40 }),
      (list, places) => {
        const bytes = new Uint8Array(
          Buffer.concat(list.map((frame) => encodeFrame(frame, [frame.payload]))),
        );
        assert.deepEqual(decode(chunksOf(bytes, places)), { frames: list, pending: 0 });
      },
    ),
  );
});

test('arbitrary bytes, and frames with a byte changed, fail alike in any chunking', () => {
  const streams = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .tuple(fc.array(frames, { minLength: 1, maxLength: 3 }), fc.nat(400), fc.nat(255))
      .map(([list, place, value]) => {
        const bytes = new Uint8Array(
          Buffer.concat(list.map((frame) => encodeFrame(frame, [frame.payload]))),
        );
        bytes[place % bytes.length] = value;
        return bytes;
      }),
  );
  fc.assert(
    fc.property(streams, fc.array(fc.nat(600), { maxLength: 40 }), (bytes, places) => {
      assert.deepEqual(decode(chunksOf(bytes, places)), decode([bytes]));
    }),
    { numRuns: 300 },
  );
});
