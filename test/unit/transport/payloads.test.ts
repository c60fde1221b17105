import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_MAX_PAYLOAD } from '../../../src/transport/frames.ts';
import type { Message } from '../../../src/transport/messages.ts';
import { MESSAGE_TYPES, type MessageType } from '../../../src/transport/messages.ts';
import { encodePayload, parseMessage, payloadLimit } from '../../../src/transport/payloads.ts';
import { BATCH, HELLO, hasCode, JOB, TAPS, WELCOME } from '../../support/transport.ts';

const payloadOf = (message: Message) => new Uint8Array(Buffer.concat(encodePayload(message)));
const hex = (message: Message) => Buffer.from(payloadOf(message)).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const parse = (type: MessageType, payload: Uint8Array) =>
  parseMessage(MESSAGE_TYPES[type], payload);
const parseJson = (type: MessageType, text: string) => parse(type, new TextEncoder().encode(text));
const BAD = hasCode('E_MESSAGE_FORMAT');

const STATES = {
  type: 'states',
  ...{ part: 2, split: 'train', gradient: true, tokens: 9, width: 2 },
  runs: [
    { row: 7, first: 3, count: 1 },
    { row: 258, first: 0, count: 1 },
  ],
  states: Float32Array.of(1, -2, 0.5, 0),
} as const satisfies Message;

const SAMPLES: Message[] = [
  HELLO,
  WELCOME,
  JOB,
  { type: 'accept', jobId: 1, resumable: true, batches: 7, step: 5 },
  TAPS,
  BATCH,
  { type: 'credit', bytes: 1 },
  { type: 'step', step: 1, epoch: 0, batch: 3, loss: 0.7, gradNorm: 1.5, ms: 2.25, queueDepth: 0 },
  { type: 'epoch', epoch: 0, trainLoss: 0.5, validLoss: null, validAccuracy: null },
  { type: 'epoch', epoch: 1, trainLoss: 0.5, validLoss: 0.4, validAccuracy: 1 },
  { type: 'finish', rows: { train: 8, valid: 0 } },
  { type: 'result', metrics: { accuracy: { side: 0.8 }, list: [1, 'two', null] } },
  { type: 'file', name: 'adapter_config.json', offset: 0, total: 9, data: Uint8Array.of(1, 2) },
  {
    type: 'file',
    name: 'a',
    offset: 0,
    total: 0,
    sha256: 'e3'.repeat(32),
    data: new Uint8Array(0),
  },
  { type: 'done' },
  { type: 'error', code: 'E_MODEL_MISMATCH', message: 'another model' },
  { type: 'clock', phase: 'ping', id: 7, t0: 1.5, t1: 0, t2: 0 },
  { type: 'clock', phase: 'pong', id: 2 ** 32 - 1, t0: 1.5, t1: 2, t2: 3 },
  { type: 'trace', events: [{ name: 'step', ph: 'X', ts: 1, dur: 2 }] },
  { type: 'cancel', reason: 'Ctrl-C' },
  { type: 'saved', batches: 7, step: 5 },
  { type: 'forget', id: '09af'.repeat(8) },
  STATES,
  { type: 'grads', part: 2, loss: 0.5, width: 2, gradient: Float32Array.of(1, -0.5, 0.25, 8) },
  { type: 'grads', part: 3, loss: 7, width: 2, gradient: new Float32Array(0) },
];

test('every type is there, once, and comes back from its bytes', () => {
  const numbers = Object.values(MESSAGE_TYPES);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i + 1),
  );
  assert.deepEqual(new Set(SAMPLES.map(({ type }) => type)), new Set(Object.keys(MESSAGE_TYPES)));
  for (const message of SAMPLES) {
    assert.deepEqual(parse(message.type, payloadOf(message)), message);
    assert.ok(payloadOf(message).length <= payloadLimit(message.type, 2 ** 20));
  }
});

test('literal bytes: TAPS', () => {
  const taps = {
    ...TAPS,
    batch: 258,
    split: 'valid',
    layer: 513,
    kindStart: 1,
    kindCount: 2,
    rowStart: 4,
    rowCount: 1,
    width: 3,
    data: bytes('003c 0908 003c 0708'),
  } as const;
  assert.equal(
    hex(taps),
    '02010000 01 04 0102 01 02 0000 04000000 01000000 03000000 003c0908 003c0708'.replaceAll(
      ' ',
      '',
    ),
  );
});

test('literal bytes: CREDIT, CLOCK, FILE, BATCH', () => {
  assert.equal(hex({ type: 'credit', bytes: 65536 }), '00000100');
  assert.equal(
    hex({ type: 'clock', phase: 'pong', id: 3, t0: 1, t1: 2, t2: -2 }),
    '01000000 03000000 000000000000f03f 0000000000000040 00000000000000c0'.replaceAll(' ', ''),
  );
  const file = { type: 'file', name: 'ab', offset: 2 ** 32, total: 2 ** 32 + 1 } as const;
  assert.equal(
    hex({ ...file, sha256: '5a'.repeat(32), data: Uint8Array.of(0xff) }),
    `01 02 0000000001000000 0100000001000000 6162 ${'5a'.repeat(32)} ff`.replaceAll(' ', ''),
  );
  const json = '{"batch":0,"split":"train","rows":[3],"labels":[1]}';
  assert.equal(new TextDecoder().decode(payloadOf(BATCH)), json);
});

test('literal bytes: STATES, GRADS', () => {
  assert.equal(
    hex(STATES),
    `02000000 00 01 0000 09000000 02000000 02000000 02000000
     07000000 03000000 01000000 02010000 00000000 01000000
     0000803f 000000c0 0000003f 00000000`.replaceAll(/\s/g, ''),
  );
  assert.equal(
    hex({ type: 'grads', part: 2, loss: 0.5, width: 2, gradient: Float32Array.of(1, -2) }),
    '02000000 01000000 02000000 00000000 000000000000e03f 0000803f 000000c0'.replaceAll(' ', ''),
  );
});

test('JSON: unknown keys are dropped, but in training they stay', () => {
  const saved = { type: 'saved', batches: 3, step: 2 };
  assert.deepEqual(parseJson('saved', '{"batches":3,"step":2,"more":1}'), saved);
  assert.deepEqual(parseJson('saved', '{"batches":3,"step":2,"type":"done"}'), saved);
  const job = parse('job', payloadOf(JOB));
  assert.deepEqual(job.type === 'job' && job.training.extra, [1]);
});

test('unknown types', () => {
  for (const number of [0, 22, 255]) {
    assert.throws(() => parseMessage(number, new Uint8Array(0)), hasCode('E_MESSAGE_TYPE'));
  }
});

test('bodies that are not JSON, not UTF-8, not an object, or nested beyond reason', () => {
  const bodies = [
    '',
    '{',
    'null',
    '[]',
    '3',
    '"x"',
    '{"batches":"3","step":1}',
    '{"batches":3}',
    '{"batches":1.5,"step":1}',
  ];
  for (const body of bodies) assert.throws(() => parseJson('saved', body), BAD, body);
  assert.throws(() => parse('accept', bytes('7b226a6f624964223a317dff')), BAD);
  const deep = `{"metrics":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}}`;
  assert.throws(() => parseJson('result', deep), BAD);
});

test('a __proto__ key does not change what an object is', () => {
  const result = parseJson('result', '{"metrics":{"__proto__":{"polluted":1},"a":1}}');
  assert.equal((result as unknown as { polluted?: number }).polluted, undefined);
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  assert.equal(result.type === 'result' && 'polluted' in result.metrics, false);
});

test('wrong fields are named', () => {
  const wrong: [Message, RegExp][] = [
    [{ ...HELLO, model: { ...HELLO.model, fingerprint: 'AB' } }, /HELLO: model.fingerprint/],
    [
      { ...JOB, task: { kind: 'classification', classes: 3, labels: ['a', 'b'] } },
      /JOB: task: labels must be as many/,
    ],
    [{ ...JOB, task: { kind: 'ranking' as 'regression' } }, /JOB: task.kind/],
    [{ ...JOB, taps: { ...JOB.taps, layers: [2, 2] } }, /layers must be distinct/],
    [{ ...JOB, codec: { ...JOB.codec, bits: 5 as 4 } }, /JOB: codec.bits/],
    [{ ...JOB, training: { ...JOB.training, learningRate: 0 } }, /learningRate/],
    [{ ...BATCH, labels: [1, 2] }, /BATCH: body: labels/],
    [{ ...BATCH, rows: [-1] }, /rows.0/],
    [{ type: 'error', code: 'nope', message: '' }, /code/],
    [
      { type: 'epoch', epoch: 0, trainLoss: Number.NaN, validLoss: null, validAccuracy: null },
      /trainLoss/,
    ],
  ];
  for (const [message, text] of wrong) {
    assert.throws(() => encodePayload(message), hasCode('E_MESSAGE_FORMAT', text));
    const { type, ...body } = message;
    assert.throws(() => parseJson(type, JSON.stringify(body)), hasCode('E_MESSAGE_FORMAT', text));
  }
});

test('the calibration of a model of 80 layers and 8,192 channels fits a JOB', () => {
  const table = Buffer.alloc(2 * 80 * 3 * 8192, 0x3c).toString('base64');
  const job: Message = { ...JOB, codec: { ...JOB.codec, mean: table, scale: table } };
  const payload = payloadOf(job);
  assert.ok(payload.length <= payloadLimit('job', DEFAULT_MAX_PAYLOAD), `${payload.length} bytes`);
  assert.deepEqual(parse('job', payload), job);
});

test('HELLO and WELCOME of another version say so before anything else', () => {
  const other = hasCode('E_PROTOCOL_VERSION', /version 1.*version 3/);
  assert.throws(() => parseJson('hello', '{"protocol":1,"brave":"new"}'), other);
  assert.throws(() => parseJson('welcome', '{"protocol":1}'), other);
});

test('TAPS that lie about themselves', () => {
  const head = '00000000 00 04 0200 00 01 0000 00000000 01000000 40000000';
  const data = '88'.repeat(34);
  assert.deepEqual(parse('taps', bytes(head + data)), TAPS);
  const lies = [
    ['', ''],
    [head.slice(0, 20), ''],
    [head, ''],
    [head, data.slice(2)],
    [head, `${data}00`],
    [head.replace('00 04', '02 04'), data],
    [head.replace('00 04', '00 05'), data],
    [head.replace('0000 00000000 01', '0001 00000000 01'), data],
    [head.replace('00 01 0000', '00 00 0000'), data],
    [head.replace('01000000 40', '00000000 40'), data],
    [head.replace('40000000', '00000000'), data],
    [head.replace('01000000 40000000', 'ffffffff ffffffff'), data],
  ];
  for (const [start, rest] of lies) {
    assert.throws(() => parse('taps', bytes(`${start}${rest}`)), BAD, `${start}|${rest?.length}`);
  }
  const wrong = [
    { layer: 65536 },
    { batch: -1 },
    { rowCount: 2 },
    { kindCount: 0 },
    { width: 1.5 },
  ];
  for (const field of wrong) assert.throws(() => encodePayload({ ...TAPS, ...field }), BAD);
});

test('FILE names stay inside a folder, and pieces inside the file', () => {
  const piece = { type: 'file', offset: 0, total: 4, data: new Uint8Array(2) } as const;
  for (const name of [
    '',
    '.',
    '..',
    '../a',
    'a/b',
    'a\\b',
    '.hidden',
    'a b',
    'ä',
    'a'.repeat(101),
  ]) {
    assert.throws(() => encodePayload({ ...piece, name }), BAD, name);
  }
  const named = { ...piece, name: 'a' };
  for (const wrong of [{ offset: 3 }, { offset: 2 }, { sha256: 'ab'.repeat(32) }, { total: -1 }]) {
    assert.throws(() => encodePayload({ ...named, ...wrong }), BAD);
  }
  const raw = (text: string) => () => parse('file', bytes(text));
  assert.throws(raw(`00 02 ${'00'.repeat(8)} 0400000000000000 2e2e 0000`), BAD);
  assert.throws(raw(`00 ff ${'00'.repeat(8)} 0400000000000000 61 0000`), BAD);
  assert.throws(raw(`02 01 ${'00'.repeat(8)} 0400000000000000 61 0000`), BAD);
  assert.throws(raw(`00 01 ${'00'.repeat(8)} ${'ff'.repeat(8)} 61 0000`), BAD);
  assert.throws(raw(`01 01 ${'00'.repeat(8)} 0200000000000000 61 0000`), BAD);
});

test('CREDIT and CLOCK of the wrong length, size or time', () => {
  for (const payload of ['', '000000', '0000000000', '00000000']) {
    assert.throws(() => parse('credit', bytes(payload)), BAD);
  }
  assert.throws(() => encodePayload({ type: 'credit', bytes: 2 ** 32 }), BAD);
  const clock = bytes(`00000000 01000000 ${'00'.repeat(24)}`);
  assert.equal(parse('clock', clock).type, 'clock');
  assert.throws(() => parse('clock', clock.subarray(1)), BAD);
  assert.throws(() => parse('clock', bytes(`02000000 01000000 ${'00'.repeat(24)}`)), BAD);
  assert.throws(() => parse('clock', bytes(`00000000 01000000 ${'ff'.repeat(24)}`)), BAD);
});
