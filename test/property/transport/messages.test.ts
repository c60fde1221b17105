import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ACTIVATION_BITS, encodedLength } from '../../../src/quant/codec.ts';
import { ProtocolError } from '../../../src/tensor/errors.ts';
import {
  Connection,
  encodeFrame,
  encodePayload,
  type JsonObject,
  MESSAGE_TYPES,
  type Message,
  parseMessage,
} from '../../../src/transport/index.ts';
import { connectionPair, FakeChannel, HELLO, tapsOf, toRunning } from '../../support/transport.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const split = fc.constantFrom('train' as const, 'valid' as const);
const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
// JSON has no -0, and zod's records leave __proto__ out.
const jsonObjects = fc
  .dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }))
  .map((value) => JSON.parse(JSON.stringify(value)) as JsonObject)
  .filter((value) => !JSON.stringify(value).includes('__proto__'));

const taps = fc
  .record({
    batch: u32,
    split,
    layer: fc.nat(65535),
    kindStart: fc.nat(255),
    kindCount: fc.integer({ min: 1, max: 3 }),
    rowStart: u32,
    rowCount: fc.integer({ min: 1, max: 3 }),
    width: fc.constantFrom(1, 3, 63, 64, 65, 100),
    bits: fc.constantFrom(...ACTIVATION_BITS),
    fill: fc.nat(255),
  })
  .map(({ fill, ...head }) => {
    const length = encodedLength(head.rowCount * head.kindCount, head.width, head.bits);
    return { type: 'taps' as const, ...head, data: new Uint8Array(length).fill(fill) };
  });
const batch = fc
  .array(
    fc.tuple(
      u32,
      fc.oneof(
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        // JSON has no -0, and it is no other label.
        fc.double({ min: -100, max: 100, noNaN: true }).map((label) => label + 0),
      ),
    ),
    { minLength: 1 },
  )
  .chain((rows) =>
    fc.record({
      type: fc.constant('batch' as const),
      batch: u32,
      split,
      rows: fc.constant(rows.map(([row]) => row)),
      labels: fc.constant(rows.map(([, label]) => label)),
    }),
  );
const file = fc
  .record({
    name: fc.constantFrom('a', 'README.md'),
    offset: u32,
    data: fc.uint8Array(),
    more: u32,
  })
  .map(({ name, offset, data, more }) => {
    const total = offset + data.length + more;
    const last = more === 0 ? { sha256: '0f'.repeat(32) } : {};
    return { type: 'file' as const, name, offset, total, data, ...last };
  });
const floats = (length: number) =>
  fc
    .array(fc.float({ noNaN: true, noDefaultInfinity: true }), {
      minLength: length,
      maxLength: length,
    })
    .map((values) => Float32Array.from(values));
const width = fc.constantFrom(1, 3, 64);
const states = fc
  .tuple(width, fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }))
  .chain(([width, counts]) => {
    const rows = counts.reduce((sum, count) => sum + count, 0);
    return fc.record({
      type: fc.constant('states' as const),
      part: u32,
      split,
      gradient: fc.boolean(),
      tokens: fc.integer({ min: rows, max: 2 ** 32 - 1 }),
      runs: fc.tuple(
        ...counts.map((count) =>
          fc.record({ row: u32, first: u32 }).map((run) => ({ ...run, count })),
        ),
      ),
      width: fc.constant(width),
      states: floats(rows * width),
    });
  });
const grads = fc.tuple(width, fc.nat(4)).chain(([width, rows]) =>
  fc.record({
    type: fc.constant('grads' as const),
    part: u32,
    loss: finite,
    width: fc.constant(width),
    gradient: floats(rows * width),
  }),
);
const anyMessage: fc.Arbitrary<Message> = fc.oneof(
  taps,
  batch,
  states,
  grads,
  file,
  fc.record({ type: fc.constant('credit' as const), bytes: u32.map((n) => n || 1) }),
  fc.record({
    type: fc.constant('clock' as const),
    phase: fc.constantFrom('ping' as const, 'pong' as const),
    id: u32,
    t0: finite,
    t1: finite,
    t2: finite,
  }),
  fc.record({ type: fc.constant('result' as const), metrics: jsonObjects }),
  fc.record({ type: fc.constant('trace' as const), events: fc.array(jsonObjects) }),
  fc.record({ type: fc.constant('saved' as const), batches: u32, step: u32 }),
  fc.record({ type: fc.constant('forget' as const), id: fc.constantFrom('0f'.repeat(16)) }),
  fc.record({ type: fc.constant('cancel' as const), reason: fc.string({ unit: 'grapheme' }) }),
);

// Records of fast-check may have no prototype; what is parsed has one.
const messages = anyMessage.map((message) => ({ ...message }));

test('a message comes back from its bytes', () => {
  fc.assert(
    fc.property(messages, (message) => {
      const payload = new Uint8Array(Buffer.concat(encodePayload(message)));
      assert.deepEqual(parseMessage(MESSAGE_TYPES[message.type], payload), message);
    }),
    { numRuns: 300 },
  );
});

test('arbitrary payloads parse or fail with a typed error', () => {
  const json = fc.jsonValue().map((value) => new TextEncoder().encode(JSON.stringify(value)));
  fc.assert(
    fc.property(fc.nat(24), fc.oneof(fc.uint8Array({ maxLength: 90 }), json), (type, payload) => {
      try {
        parseMessage(type, payload);
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('states and gradients of another size, or with a number that is none, are refused', () => {
  const broken = (message: Message, change: (bytes: Uint8Array) => Uint8Array) => {
    const payload = new Uint8Array(Buffer.concat(encodePayload(message)));
    assert.throws(() => parseMessage(MESSAGE_TYPES[message.type], change(payload)), {
      name: 'ProtocolError',
      code: 'E_MESSAGE_FORMAT',
    });
  };
  const view = (bytes: Uint8Array) => new DataView(bytes.buffer);
  const last = (value: number) => (bytes: Uint8Array) => {
    view(bytes).setFloat32(bytes.length - 4, value, true);
    return bytes;
  };
  const filled = grads.filter(({ gradient }) => gradient.length > 0);
  fc.assert(
    fc.property(states, filled, fc.integer({ min: 1, max: 7 }), (asked, answer, cut) => {
      for (const message of [asked, answer]) {
        broken(message, (bytes) => bytes.slice(0, -cut));
        broken(message, (bytes) => new Uint8Array([...bytes, 0]));
        for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) broken(message, last(value));
      }
      // Tokens, runs, rows, width and a run's length, each one more than there are.
      for (const at of [12, 16, 20, 32]) {
        broken(asked, (bytes) => {
          view(bytes).setUint32(at, view(bytes).getUint32(at, true) + 1, true);
          return bytes;
        });
      }
      broken(asked, (bytes) => {
        view(bytes).setUint32(8, asked.states.length / asked.width - 1, true);
        return bytes;
      });
      broken(answer, (bytes) => {
        view(bytes).setFloat64(16, Number.NaN, true);
        return bytes;
      });
    }),
    { numRuns: 50 },
  );
});

test('whatever frames a server gets, it ends typed or goes on', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(fc.integer({ min: 1, max: 21 }), fc.uint8Array({ maxLength: 40 }), fc.boolean()),
        {
          maxLength: 5,
        },
      ),
      (list) => {
        const channel = new FakeChannel();
        const server = new Connection(channel, {
          role: 'server',
          idleTimeoutMs: 0,
          pingIntervalMs: 0,
        });
        list.forEach(([type, payload, hello], sequence) => {
          const frame = hello
            ? encodeFrame({ type: 1, job: 0, sequence }, encodePayload(HELLO))
            : encodeFrame({ type, job: 0, sequence }, [payload]);
          channel.deliver(frame);
        });
        if (server.error) {
          assert.ok(server.error instanceof ProtocolError);
          assert.equal(channel.closedWith?.[0], 4000);
        }
      },
    ),
  );
});

test('under any window and any order of consuming, all data arrives in order and bounded', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 300, max: 3000 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 30 }),
      fc.infiniteStream(fc.nat(2)),
      async (window, sizes, pauses) => {
        const { device, server } = connectionPair({ idleTimeoutMs: 0, pingIntervalMs: 0 });
        await toRunning(device, server, window);
        const fitting = sizes.filter((rows) => 44 + 34 * rows <= Math.floor(window / 2));
        const sending = Promise.all(
          fitting.map((rows, i) => device.send({ ...tapsOf(rows), batch: i })),
        );
        for (const [i, rows] of fitting.entries()) {
          for (let pause = pauses.next().value; pause > 0; pause--) await Promise.resolve();
          const message = await server.receive();
          assert.ok(message?.type === 'taps');
          assert.deepEqual([message.batch, message.rowCount], [i, rows]);
          const waiting = server.queued * (44 + 34);
          assert.ok(waiting <= window);
        }
        await sending;
        await device.close();
      },
    ),
  );
});
