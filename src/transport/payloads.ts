/** The payloads of messages: JSON bodies checked by their schemas, binary ones by hand. */
import type { z } from 'zod';
import { encodedLength, isActivationBits } from '../quant/codec.ts';
import { MobillmError } from '../tensor/errors.ts';
import { PROTOCOL_VERSION, versionMismatch } from './frames.ts';
import {
  type ClockMessage,
  type CreditMessage,
  type FileMessage,
  type Message,
  type MessageType,
  messageTypeOf,
  type TapsMessage,
} from './messages.ts';
import { checkInteger, malformed, viewOf } from './payload-checks.ts';
import * as schemas from './schemas.ts';
import { encodeGrads, encodeStates, parseGrads, parseStates } from './states-payload.ts';

/** Bytes before the codec's in a TAPS payload. */
export const TAPS_HEADER_BYTES = 24;

/** Bytes before the name in a FILE payload. */
export const FILE_HEADER_BYTES = 18;

const CREDIT_BYTES = 4;
const CLOCK_BYTES = 32;
const KIB = 1024;

/**
 * JOB carries the calibration: two f16 a channel, in base64. 80 layers of 8,192 channels in three
 * kinds are 10.5 MB; the rest is room for 100,000 names of classes.
 */
const JOB_LIMIT = 16 * 1024 * KIB;

const JSON_TYPES = {
  hello: { schema: schemas.helloSchema, limit: 64 * KIB },
  welcome: { schema: schemas.welcomeSchema, limit: 64 * KIB },
  job: { schema: schemas.jobSchema, limit: JOB_LIMIT },
  accept: { schema: schemas.acceptSchema, limit: 4 * KIB },
  batch: { schema: schemas.batchSchema, limit: 1024 * KIB },
  step: { schema: schemas.stepSchema, limit: 4 * KIB },
  epoch: { schema: schemas.epochSchema, limit: 4 * KIB },
  finish: { schema: schemas.finishSchema, limit: 4 * KIB },
  result: { schema: schemas.resultSchema, limit: 1024 * KIB },
  done: { schema: schemas.doneSchema, limit: 4 * KIB },
  error: { schema: schemas.errorSchema, limit: 64 * KIB },
  trace: { schema: schemas.traceSchema, limit: 4096 * KIB },
  cancel: { schema: schemas.cancelSchema, limit: 64 * KIB },
  saved: { schema: schemas.savedSchema, limit: 4 * KIB },
  forget: { schema: schemas.forgetSchema, limit: 4 * KIB },
} as const;

type JsonType = keyof typeof JSON_TYPES;

const isJsonType = (type: MessageType): type is JsonType => type in JSON_TYPES;

/** Largest payload of a type, in bytes, where `maxPayload` bounds the binary ones. */
export function payloadLimit(type: MessageType, maxPayload: number): number {
  if (type === 'credit') return CREDIT_BYTES;
  if (type === 'clock') return CLOCK_BYTES;
  return isJsonType(type) ? Math.min(maxPayload, JSON_TYPES[type].limit) : maxPayload;
}

/**
 * A message's payload, in parts to be sent one after another; the last may alias the message's data.
 * @throws ProtocolError `E_MESSAGE_FORMAT` where the message is not what its type demands.
 */
export function encodePayload(message: Message): Uint8Array[] {
  switch (message.type) {
    case 'taps':
      return encodeTaps(message);
    case 'file':
      return encodeFile(message);
    case 'states':
      return encodeStates(message);
    case 'grads':
      return encodeGrads(message);
    case 'credit': {
      checkInteger('credit', 'bytes', message.bytes, 1);
      const payload = new Uint8Array(CREDIT_BYTES);
      new DataView(payload.buffer).setUint32(0, message.bytes, true);
      return [payload];
    }
    case 'clock':
      return [encodeClock(message)];
    default: {
      const { type, ...body } = message;
      return [new TextEncoder().encode(JSON.stringify(validate(type, body)))];
    }
  }
}

/**
 * The message in a frame; binary data aliases the payload.
 * @throws ProtocolError `E_MESSAGE_TYPE`, `E_MESSAGE_FORMAT` or `E_PROTOCOL_VERSION`.
 */
export function parseMessage(typeNumber: number, payload: Uint8Array): Message {
  const type = messageTypeOf(typeNumber);
  switch (type) {
    case 'taps':
      return parseTaps(payload);
    case 'file':
      return parseFile(payload);
    case 'states':
      return parseStates(payload);
    case 'grads':
      return parseGrads(payload);
    case 'credit':
      return parseCredit(payload);
    case 'clock':
      return parseClock(payload);
    default:
      return parseJson(type, payload);
  }
}

function parseJson(type: JsonType, payload: Uint8Array): Message {
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch (error) {
    throw malformed(type, 'the payload is not JSON in UTF-8', error);
  }
  if ((type === 'hello' || type === 'welcome') && typeof body === 'object' && body !== null) {
    // Before the rest is judged: another version may well have other fields.
    const { protocol } = body as { protocol?: unknown };
    if (typeof protocol === 'number' && protocol !== PROTOCOL_VERSION) {
      throw versionMismatch(`version ${protocol}`);
    }
  }
  return { type, ...validate(type, body) } as Message;
}

/** The body as the schema has it; a stack overflow on deeply nested JSON is malformed as well. */
function validate(type: JsonType, body: unknown): object {
  let result: z.ZodSafeParseResult<object>;
  try {
    result = JSON_TYPES[type].schema.safeParse(body);
  } catch (error) {
    throw malformed(type, 'the body is nested too deeply', error);
  }
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path.map(String).join('.') || 'body';
  throw malformed(type, `${path}: ${issue?.message ?? 'not valid'}`);
}

function encodeTaps(message: TapsMessage): Uint8Array[] {
  const head = new Uint8Array(TAPS_HEADER_BYTES);
  const view = new DataView(head.buffer);
  checkInteger('taps', 'batch', message.batch, 0);
  checkInteger('taps', 'layer', message.layer, 0, 0xffff);
  checkInteger('taps', 'kindStart', message.kindStart, 0, 0xff);
  checkInteger('taps', 'kindCount', message.kindCount, 1, 0xff);
  checkInteger('taps', 'rowStart', message.rowStart, 0);
  checkInteger('taps', 'rowCount', message.rowCount, 1);
  checkInteger('taps', 'width', message.width, 1);
  checkTapsData(message);
  view.setUint32(0, message.batch, true);
  view.setUint8(4, message.split === 'train' ? 0 : 1);
  view.setUint8(5, message.bits);
  view.setUint16(6, message.layer, true);
  view.setUint8(8, message.kindStart);
  view.setUint8(9, message.kindCount);
  view.setUint32(12, message.rowStart, true);
  view.setUint32(16, message.rowCount, true);
  view.setUint32(20, message.width, true);
  return [head, message.data];
}

function parseTaps(payload: Uint8Array): TapsMessage {
  const view = viewOf('taps', payload, TAPS_HEADER_BYTES);
  const split = view.getUint8(4);
  const bits = view.getUint8(5);
  if (split > 1) throw malformed('taps', `split ${split} is neither 0 (train) nor 1 (valid)`);
  if (!isActivationBits(bits)) throw malformed('taps', `${bits} bits is not in the codec`);
  if (view.getUint16(10, true) !== 0) throw malformed('taps', 'reserved bytes are not zero');
  const message: TapsMessage = {
    type: 'taps',
    batch: view.getUint32(0, true),
    split: split === 0 ? 'train' : 'valid',
    layer: view.getUint16(6, true),
    kindStart: view.getUint8(8),
    kindCount: view.getUint8(9),
    rowStart: view.getUint32(12, true),
    rowCount: view.getUint32(16, true),
    width: view.getUint32(20, true),
    bits,
    data: payload.subarray(TAPS_HEADER_BYTES),
  };
  checkInteger('taps', 'kindCount', message.kindCount, 1);
  checkInteger('taps', 'rowCount', message.rowCount, 1);
  checkTapsData(message);
  return message;
}

function checkTapsData({ rowCount, kindCount, width, bits, data }: TapsMessage): void {
  let expected: number;
  try {
    expected = encodedLength(rowCount * kindCount, width, bits);
  } catch (error) {
    throw malformed('taps', error instanceof MobillmError ? error.message : 'bad extent', error);
  }
  if (data.length !== expected) {
    throw malformed(
      'taps',
      `${rowCount} rows of ${kindCount} x ${width} values at ${bits} bits take ${expected} bytes, ` +
        `got ${data.length}`,
    );
  }
}

// A plain name: no separators, no leading dot, so that it cannot leave the adapter's folder.
const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/;

function encodeFile(message: FileMessage): Uint8Array[] {
  const { name, offset, total, sha256, data } = message;
  checkFile(message);
  const head = new Uint8Array(FILE_HEADER_BYTES + name.length + (sha256 ? 32 : 0));
  const view = new DataView(head.buffer);
  view.setUint8(0, sha256 ? 1 : 0);
  view.setUint8(1, name.length);
  view.setBigUint64(2, BigInt(offset), true);
  view.setBigUint64(10, BigInt(total), true);
  head.set(new TextEncoder().encode(name), FILE_HEADER_BYTES);
  if (sha256) {
    for (let i = 0; i < 32; i++) {
      head[FILE_HEADER_BYTES + name.length + i] = Number.parseInt(
        sha256.slice(2 * i, 2 * i + 2),
        16,
      );
    }
  }
  return [head, data];
}

function parseFile(payload: Uint8Array): FileMessage {
  const view = viewOf('file', payload, FILE_HEADER_BYTES);
  const last = view.getUint8(0);
  if (last > 1) throw malformed('file', `flags ${last} are neither 0 nor 1 (last)`);
  const nameEnd = FILE_HEADER_BYTES + view.getUint8(1);
  const dataAt = nameEnd + 32 * last;
  viewOf('file', payload, dataAt);
  const message: FileMessage = {
    type: 'file',
    name: String.fromCharCode(...payload.subarray(FILE_HEADER_BYTES, nameEnd)),
    offset: Number(view.getBigUint64(2, true)),
    total: Number(view.getBigUint64(10, true)),
    data: payload.subarray(dataAt),
    ...(last ? { sha256: hex(payload.subarray(nameEnd, dataAt)) } : {}),
  };
  checkFile(message);
  return message;
}

function checkFile({ name, offset, total, sha256, data }: FileMessage): void {
  if (!FILE_NAME.test(name)) throw malformed('file', `${JSON.stringify(name)} is not a plain name`);
  checkInteger('file', 'offset', offset, 0, Number.MAX_SAFE_INTEGER);
  checkInteger('file', 'total', total, 0, Number.MAX_SAFE_INTEGER);
  const end = offset + data.length;
  if (end > total || (end === total) !== (sha256 !== undefined)) {
    throw malformed(
      'file',
      `${name}: bytes ${offset} to ${end} of ${total} ${sha256 ? 'with' : 'without'} a SHA-256; ` +
        'the last piece, and it alone, carries one',
    );
  }
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)) {
    throw malformed('file', `${name}: the SHA-256 is not 64 hex digits`);
  }
}

function parseCredit(payload: Uint8Array): CreditMessage {
  const bytes = viewOf('credit', payload, CREDIT_BYTES, true).getUint32(0, true);
  checkInteger('credit', 'bytes', bytes, 1);
  return { type: 'credit', bytes };
}

function encodeClock({ phase, id, t0, t1, t2 }: ClockMessage): Uint8Array {
  checkInteger('clock', 'id', id, 0);
  checkTimes(t0, t1, t2);
  const payload = new Uint8Array(CLOCK_BYTES);
  const view = new DataView(payload.buffer);
  view.setUint8(0, phase === 'ping' ? 0 : 1);
  view.setUint32(4, id, true);
  view.setFloat64(8, t0, true);
  view.setFloat64(16, t1, true);
  view.setFloat64(24, t2, true);
  return payload;
}

function parseClock(payload: Uint8Array): ClockMessage {
  const view = viewOf('clock', payload, CLOCK_BYTES, true);
  const phase = view.getUint32(0, true);
  if (phase > 1) throw malformed('clock', `phase ${phase} is neither 0 (ping) nor 1 (pong)`);
  const [t0, t1, t2] = [8, 16, 24].map((at) => view.getFloat64(at, true)) as [
    number,
    number,
    number,
  ];
  checkTimes(t0, t1, t2);
  return {
    type: 'clock',
    phase: phase === 0 ? 'ping' : 'pong',
    id: view.getUint32(4, true),
    t0,
    t1,
    t2,
  };
}

function checkTimes(...times: number[]): void {
  if (!times.every(Number.isFinite)) throw malformed('clock', `times ${times} are not all finite`);
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
