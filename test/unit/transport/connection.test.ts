import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Connection,
  encodeFrame,
  encodePayload,
  estimateClockOffset,
  FRAME_HEADER_BYTES,
  MESSAGE_TYPES,
  type Message,
  memoryChannelPair,
  parseMessage,
} from '../../../src/transport/index.ts';
import {
  BATCH,
  connectionPair,
  FakeChannel,
  HELLO,
  hasCode,
  JOB,
  TAPS,
  tapsOf,
  toRunning,
  WELCOME,
} from '../../support/transport.ts';

const FINISH: Message = { type: 'finish', rows: { train: 8, valid: 0 } };
const STEP: Message = {
  type: 'step',
  step: 1,
  epoch: 0,
  batch: 0,
  loss: 1,
  gradNorm: 1,
  ms: 1,
  queueDepth: 0,
};
const frameOf = (message: Message, sequence: number, job = 0) =>
  encodeFrame({ type: MESSAGE_TYPES[message.type], job, sequence }, encodePayload(message));
/** What a test's end of a channel was sent. */
const typesSent = (channel: FakeChannel) =>
  channel.sent.map((frame) => parseMessage(frame[5] as number, frame.subarray(20)).type);

/** A server that has accepted job 3, its channel in the test's hands; frame 2 of the device is due. */
async function serverInJob(): Promise<{ channel: FakeChannel; server: Connection }> {
  const channel = new FakeChannel();
  const server = new Connection(channel, { role: 'server' });
  channel.deliver(frameOf(HELLO, 0));
  await server.send(WELCOME);
  channel.deliver(frameOf(JOB, 1));
  await server.send({ type: 'accept', jobId: 3, resumable: false, batches: 0, step: 0 });
  return { channel, server };
}

test('a session, start to end, and its bytes', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server);
  assert.deepEqual([device.state, server.state], ['running', 'running']);
  await device.send(TAPS);
  await device.send(BATCH);
  await device.send(FINISH);
  assert.deepEqual(await server.receive(), TAPS);
  assert.deepEqual(await server.receive(), BATCH);
  await server.send(STEP);
  assert.deepEqual(await server.receive(), FINISH);
  await server.send({ type: 'result', metrics: { side: 0.5 } });
  await server.send({ type: 'done' });
  const seen: string[] = [];
  for await (const { type } of device) {
    seen.push(type);
    if (type === 'done') break;
  }
  assert.deepEqual(seen, ['step', 'result', 'done']);
  // Another job may follow on the same connection.
  await device.send(JOB);
  assert.equal((await server.receive())?.type, 'job');
  await server.send({ type: 'accept', jobId: 10, resumable: false, batches: 0, step: 0 });
  assert.equal((await device.receive())?.type, 'accept');
  await device.send(FINISH);
  assert.equal((await server.receive())?.type, 'finish');
  await device.close();
  assert.equal(await server.receive(), undefined);
  assert.equal(await server.closed, undefined);
  assert.deepEqual(device.bytesSent, server.bytesReceived);
  assert.deepEqual(server.bytesSent, device.bytesReceived);
  const { payload, total } = device.bytesSent;
  assert.equal(total - payload, 7 * FRAME_HEADER_BYTES);
});

test('messages come in order whatever their kind, and the frame counts', async () => {
  const { channel, server } = await serverInJob();
  // Two frames in one chunk, one of them cut.
  const tail = new Uint8Array(Buffer.concat([frameOf(TAPS, 2, 3), frameOf(BATCH, 3, 3)]));
  channel.deliver(tail.subarray(0, 30));
  channel.deliver(tail.subarray(30));
  const types = [];
  for (let i = 0; i < 4; i++) types.push((await server.receive())?.type);
  assert.deepEqual(types, ['hello', 'job', 'taps', 'batch']);
  const [welcome, accept] = channel.sent as [Uint8Array, Uint8Array];
  assert.deepEqual([...welcome.subarray(5, 16)], [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual([...accept.subarray(5, 16)], [4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
});

test('what may not be sent is refused here, and the connection lives', async () => {
  const { device, server } = connectionPair();
  await assert.rejects(device.send(WELCOME), hasCode('E_MESSAGE_DIRECTION', /WELCOME.*device/));
  await assert.rejects(device.send(TAPS), hasCode('E_MESSAGE_STATE', /TAPS.*'new'/));
  await toRunning(device, server);
  await assert.rejects(device.send(HELLO), hasCode('E_MESSAGE_STATE'));
  await assert.rejects(device.send({ ...TAPS, width: 65 }), hasCode('E_MESSAGE_FORMAT'));
  await assert.rejects(device.send(tapsOf(60)), hasCode('E_CREDIT', /half the window/));
  await device.send(TAPS);
  assert.equal((await server.receive())?.type, 'taps');
});

test('every fault of the other end has its code, is told to it, and closes', async () => {
  const cases: [string, Uint8Array[]][] = [
    ['E_FRAME_MAGIC', [new Uint8Array(20)]],
    ['E_FRAME_SEQUENCE', [frameOf(TAPS, 5, 3)]],
    ['E_MESSAGE_STATE', [frameOf(TAPS, 2, 4)]],
    ['E_MESSAGE_STATE', [frameOf(HELLO, 2)]],
    ['E_MESSAGE_DIRECTION', [frameOf(STEP, 2, 3)]],
    ['E_MESSAGE_TYPE', [encodeFrame({ type: 99, job: 0, sequence: 2 }, [])]],
    ['E_MESSAGE_FORMAT', [encodeFrame({ type: 6, job: 3, sequence: 2 }, [Uint8Array.of(123)])]],
    ['E_FRAME_SIZE', [encodeFrame({ type: 7, job: 0, sequence: 2 }, [new Uint8Array(5)])]],
    ['E_CREDIT', [frameOf(tapsOf(50), 2, 3), frameOf(tapsOf(50), 3, 3), frameOf(tapsOf(50), 4, 3)]],
    ['E_CREDIT', [frameOf({ type: 'credit', bytes: 1 }, 2)]],
  ];
  for (const [code, frames] of cases) {
    const { channel, server } = await serverInJob();
    for (const frame of frames) channel.deliver(frame);
    assert.equal((await server.closed)?.code, code);
    assert.equal(typesSent(channel).at(-1), 'error', code);
    assert.deepEqual(channel.closedWith, [4000, code]);
    await assert.rejects(server.send(STEP), hasCode(code));
    // What came before the fault can still be read.
    const types = [];
    await assert.rejects(async () => {
      for await (const { type } of server) types.push(type);
    }, hasCode(code));
    assert.equal(
      types.length,
      2 + frames.filter(() => code === 'E_CREDIT').length - +(code === 'E_CREDIT'),
    );
    // Bytes after the end are not looked at.
    channel.deliver(frameOf(TAPS, 2, 3));
  }
});

test('ERROR from the other end carries its code and message to every pending call', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server);
  const waiting = device.receive();
  server.fail('E_MODEL_MISMATCH', 'the job is for another model');
  await assert.rejects(waiting, hasCode('E_MODEL_MISMATCH', /the server gave up: the job is for/));
  await assert.rejects(device.send(TAPS), hasCode('E_MODEL_MISMATCH'));
  assert.equal(device.error?.code, 'E_MODEL_MISMATCH');
  await assert.rejects(server.receive(), hasCode('E_MODEL_MISMATCH'));
  server.fail('E_OTHER', 'only the first counts');
  assert.equal((await server.closed)?.code, 'E_MODEL_MISMATCH');
});

test('an error text of any length fits its frame', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server);
  server.fail('not a code', 'x'.repeat(1e6));
  assert.equal((await device.closed)?.code, 'E_PROTOCOL');
  assert.equal((await server.closed)?.code, 'not a code');
});

test('without credit sends wait, and go on as the other end consumes', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server, 2000);
  // 44 + 34 * 20 = 724 bytes a frame: two fit.
  let sent = 0;
  const sending = (async () => {
    for (let i = 0; i < 10; i++) {
      await device.send(tapsOf(20));
      sent++;
    }
  })();
  await sleep(20);
  assert.equal(sent, 2);
  assert.ok(device.creditAvailable < 724);
  // Taking a message is not dealing with it: the grant comes with the next receive.
  await server.receive();
  await sleep(20);
  assert.equal(sent, 2);
  await server.receive();
  await sleep(20);
  assert.equal(sent, 3);
  for (let i = 0; i < 8; i++) await server.receive();
  await sending;
  assert.equal(sent, 10);
});

test('small steps pass by data that waits, and the clock answers', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server, 2000);
  const blocked = [device.send(tapsOf(25)), device.send(tapsOf(25)), device.send(tapsOf(25))];
  blocked.push(device.send(FINISH));
  const { offsetMs, roundTripMs } = await estimateClockOffset(device, 3);
  assert.ok(Math.abs(offsetMs) <= roundTripMs / 2 + 1);
  await server.send(STEP);
  assert.equal((await device.receive())?.type, 'step');
  const types = [];
  for (let i = 0; i < 4; i++) types.push((await server.receive())?.type);
  assert.deepEqual(types, ['taps', 'taps', 'taps', 'finish']);
  await Promise.all(blocked);
});

test('the clock offset is the difference of the clocks', async () => {
  const channels: [FakeChannel, FakeChannel] = [new FakeChannel(), new FakeChannel()];
  let time = 1000;
  // Every look at a clock takes a millisecond; the server's is 500 ahead.
  const device = new Connection(channels[0], { role: 'device', now: () => time++ });
  const server = new Connection(channels[1], { role: 'server', now: () => 500 + time++ });
  const [a, b] = channels;
  a.send = (bytes) => queueMicrotask(() => b.deliver(bytes));
  b.send = (bytes) => queueMicrotask(() => a.deliver(bytes));
  await toRunning(device, server);
  // t0 = n, t1 = t2 = 500 + n + 1, t3 = n + 2: exact where both ways take as long.
  const { offsetMs, roundTripMs } = await estimateClockOffset(device, 4);
  assert.equal(offsetMs, 500);
  assert.equal(roundTripMs, 2);
});

test('a full channel holds sends back', async () => {
  const channel = new FakeChannel();
  const device = new Connection(channel, { role: 'device', highWaterMark: 100 });
  channel.bufferedAmount = 101;
  let done = false;
  const sending = device.send(HELLO).then(() => {
    done = true;
  });
  await sleep(15);
  assert.equal(done, false);
  channel.bufferedAmount = 0;
  await sending;
  assert.deepEqual(typesSent(channel), ['hello']);
});

test('a close amid a send rejects it and everything behind it', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server, 2000);
  await device.send(tapsOf(25));
  await device.send(tapsOf(25));
  const first = device.send(tapsOf(25));
  const second = device.send(tapsOf(25));
  const checks = [first, second].map((p) => assert.rejects(p, hasCode('E_CLOSED', /'running'/)));
  await server.close();
  await Promise.all(checks);
  await assert.rejects(device.receive(), hasCode('E_CLOSED'));
  // The end that closed is told so when it goes on.
  await assert.rejects(server.send(STEP), hasCode('E_CLOSED'));
});

test('a close is in order only where a session may end', async () => {
  const running = connectionPair();
  await toRunning(running.device, running.server);
  await running.device.close();
  assert.equal((await running.server.closed)?.code, 'E_CLOSED');
  const finished = connectionPair();
  await toRunning(finished.device, finished.server);
  await finished.device.send(FINISH);
  await finished.server.close();
  assert.equal((await finished.device.closed)?.code, 'E_CLOSED');
});

test('close codes of the socket become codes of ours', async () => {
  for (const [close, code] of [
    [1006, 'E_CLOSED'],
    [1001, 'E_CLOSED'],
    [1009, 'E_FRAME_SIZE'],
    [4001, 'E_PROTOCOL_VERSION'],
  ] as const) {
    const channel = new FakeChannel();
    const device = new Connection(channel, { role: 'device', remote: 'ws://there' });
    channel.end(close, 'why');
    await assert.rejects(device.receive(), hasCode(code, /ws:\/\/there.*why/));
  }
  const channel = new FakeChannel();
  const device = new Connection(channel, { role: 'device' });
  channel.deliver(frameOf(WELCOME, 0).subarray(0, 30));
  channel.end(1000, '');
  assert.equal((await device.closed)?.code, 'E_FRAME_TRUNCATED');
});

test('a channel that throws ends the connection with a typed error', async () => {
  const channel = new FakeChannel();
  channel.send = () => {
    throw new Error('gone');
  };
  const device = new Connection(channel, { role: 'device' });
  await assert.rejects(device.send(HELLO), hasCode('E_CLOSED'));
  assert.equal((await device.closed)?.code, 'E_CLOSED');
});

test('CANCEL overtakes data, drops it on both ends, and DONE ends it', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server, 2000);
  await device.send(tapsOf(25));
  await device.send(tapsOf(25));
  const dropped = [device.send(tapsOf(25)), device.send(BATCH), device.send(FINISH)];
  const checks = dropped.map((p) => assert.rejects(p, hasCode('E_CANCELLED')));
  await sleep(5);
  let heard: string | undefined;
  server.onCancel = (reason) => {
    heard = reason;
  };
  await server.send(STEP);
  await device.send({ type: 'cancel', reason: 'Ctrl-C' });
  await Promise.all(checks);
  assert.equal((await server.receive())?.type, 'cancel');
  assert.equal(heard, 'Ctrl-C');
  await server.send({ type: 'done' });
  assert.equal((await device.receive())?.type, 'step');
  assert.equal((await device.receive())?.type, 'done');
  assert.deepEqual([device.state, server.state], ['ready', 'ready']);
  assert.equal(device.creditAvailable, 2000);
  await device.send(JOB);
  assert.equal((await server.receive())?.type, 'job');
});

test('a device that loads its model for long before HELLO is not taken for dead', async () => {
  const { device, server } = connectionPair({ idleTimeoutMs: 100, pingIntervalMs: 10 });
  await sleep(250);
  assert.equal(device.error ?? server.error, undefined);
  await toRunning(device, server);
  await device.close();
});

test('silence ends the connection; signs of life keep it', async () => {
  const quiet = new FakeChannel();
  const lonely = new Connection(quiet, { role: 'server', idleTimeoutMs: 20, pingIntervalMs: 5 });
  assert.equal((await lonely.closed)?.code, 'E_IDLE_TIMEOUT');
  const { device, server } = connectionPair({ idleTimeoutMs: 300, pingIntervalMs: 10 });
  await toRunning(device, server);
  await sleep(450);
  assert.equal(device.error ?? server.error, undefined);
  await device.close();
});

test('messages that nobody reads are bounded', async () => {
  const stepBytes = frameOf(STEP, 0).length;
  const [deviceEnd, serverEnd] = memoryChannelPair();
  // The bound holds for the end that does not read: the server's own must take a JOB whole.
  const device = new Connection(deviceEnd, { role: 'device', maxQueuedBytes: 3 * stepBytes });
  const server = new Connection(serverEnd, { role: 'server' });
  await toRunning(device, server);
  for (let i = 0; i < 3; i++) await server.send(STEP);
  await sleep(1);
  assert.deepEqual([device.queued, device.error], [3, undefined]);
  assert.equal((await device.receive())?.type, 'step');
  await server.send(STEP);
  await sleep(1);
  assert.deepEqual([device.queued, device.error], [3, undefined]);
  await server.send(STEP);
  assert.equal((await device.closed)?.code, 'E_OVERLOAD');
});
