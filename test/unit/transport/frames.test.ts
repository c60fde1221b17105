import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  encodeFrame,
  FRAME_HEADER_BYTES,
  type Frame,
  FrameDecoder,
} from '../../../src/transport/frames.ts';
import { hasCode } from '../../support/transport.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

//               magic    v  ty flags job      sequence length   payload
const LITERAL = '4d424c4d 03 05 0000 07000000 02010000 03000000 0a0b0c';

function collect(decoder: FrameDecoder, chunk: Uint8Array): Frame[] {
  const frames: Frame[] = [];
  decoder.push(chunk, (frame) => frames.push(frame));
  return frames;
}

test('a frame is these bytes', () => {
  const parts = [Uint8Array.of(10), Uint8Array.of(), Uint8Array.of(11, 12)];
  const frame = encodeFrame({ type: 5, job: 7, sequence: 258 }, parts);
  assert.equal(hex(frame), LITERAL.replaceAll(' ', ''));
  assert.equal(frame.length, FRAME_HEADER_BYTES + 3);
});

test('these bytes are a frame, whole, byte by byte, and two in one chunk', () => {
  const expected = { type: 5, job: 7, sequence: 258, payload: Uint8Array.of(10, 11, 12) };
  assert.deepEqual(collect(new FrameDecoder(), bytes(LITERAL)), [expected]);
  const slow = new FrameDecoder();
  const seen = [...bytes(LITERAL)].flatMap((byte) => collect(slow, Uint8Array.of(byte)));
  assert.deepEqual(seen, [expected]);
  assert.equal(slow.pendingBytes, 0);
  const twice = collect(new FrameDecoder(), bytes(LITERAL + LITERAL));
  assert.deepEqual(twice, [expected, expected]);
});

test('a frame split in the header and in the payload', () => {
  const all = bytes(LITERAL);
  for (let cut = 0; cut <= all.length; cut++) {
    const decoder = new FrameDecoder();
    const frames = [
      ...collect(decoder, all.subarray(0, cut)),
      ...collect(decoder, all.subarray(cut)),
    ];
    assert.equal(frames.length, 1, `cut at ${cut}`);
    assert.equal(hex(frames[0]?.payload as Uint8Array), '0a0b0c');
  }
});

test('a payload that lies whole in a chunk is a view, not a copy', () => {
  const chunk = bytes(LITERAL);
  assert.equal(collect(new FrameDecoder(), chunk)[0]?.payload.buffer, chunk.buffer);
});

test('an empty payload is a frame as soon as its header is', () => {
  const frame = encodeFrame({ type: 13, job: 0, sequence: 0 }, []);
  assert.equal(frame.length, FRAME_HEADER_BYTES);
  assert.equal(collect(new FrameDecoder(), frame)[0]?.payload.length, 0);
});

test('every fault of a header has its code, at the header', () => {
  const faults: [string, string][] = [
    ['4d424c4e 03 05 0000 07000000 02010000 03000000', 'E_FRAME_MAGIC'],
    ['47455420 2f 20 4854 54502f31 2e310d0a 486f7374', 'E_FRAME_MAGIC'],
    ['4d424c4d 01 05 0000 07000000 02010000 03000000', 'E_PROTOCOL_VERSION'],
    ['4d424c4d 03 05 0100 07000000 02010000 03000000', 'E_FRAME_FLAGS'],
    ['4d424c4d 03 05 0000 07000000 02010000 01000001', 'E_FRAME_SIZE'],
    ['4d424c4d 03 05 0000 07000000 02010000 ffffffff', 'E_FRAME_SIZE'],
  ];
  for (const [header, code] of faults) {
    const decoder = new FrameDecoder();
    assert.throws(() => collect(decoder, bytes(header)), hasCode(code), header);
    // The stream is lost: a sound frame behind the fault is not looked at.
    assert.throws(() => collect(decoder, bytes(LITERAL)), hasCode(code));
    decoder.end();
  }
});

test('a version mismatch names both versions', () => {
  const other = bytes('4d424c4d 09 05 0000 07000000 02010000 00000000');
  assert.throws(
    () => collect(new FrameDecoder(), other),
    hasCode('E_PROTOCOL_VERSION', /version 9.*version 3/),
  );
});

test('frames before a fault are handed on', () => {
  const frames: Frame[] = [];
  assert.throws(
    () => new FrameDecoder().push(bytes(`${LITERAL} ${'00'.repeat(20)}`), (f) => frames.push(f)),
    hasCode('E_FRAME_MAGIC'),
  );
  assert.equal(frames.length, 1);
});

test('a header of the largest payload holds no memory for it', () => {
  const decoder = new FrameDecoder(() => 2 ** 32 - 1);
  const header = bytes('4d424c4d 03 05 0000 00000000 00000000 ffffffff');
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 1000; i++)
    collect(i === 0 ? decoder : new FrameDecoder(() => 2 ** 32), header);
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 24);
  assert.equal(decoder.pendingBytes, FRAME_HEADER_BYTES);
});

test('an end amid a frame is a fault, between frames it is not', () => {
  const decoder = new FrameDecoder();
  decoder.end();
  collect(decoder, bytes(LITERAL).subarray(0, 22));
  assert.throws(() => decoder.end(), hasCode('E_FRAME_TRUNCATED', /22 bytes/));
});

test('too large a payload is not encoded', () => {
  assert.throws(
    () => encodeFrame({ type: 5, job: 0, sequence: 0 }, [new Uint8Array(11)], 10),
    hasCode('E_FRAME_SIZE', /11 bytes.*10/),
  );
});
