/** The payloads of STATES and GRADS: a part of a step whose labels are on the device, and its gradient. */
import type { GradsMessage, MessageType, StatesMessage, TokenRun } from './messages.ts';
import { checkInteger, malformed, viewOf } from './payload-checks.ts';

/** Bytes before the runs in a STATES payload, and before the gradient in a GRADS payload. */
export const STATES_HEADER_BYTES = 24;

/** Bytes of a run of tokens in a STATES payload. */
export const TOKEN_RUN_BYTES = 12;

/**
 * The payload of STATES, in parts; the last aliases the states.
 * @throws ProtocolError `E_MESSAGE_FORMAT` where they do not fit together
 */
export function encodeStates(message: StatesMessage): Uint8Array[] {
  const { part, split, gradient, tokens, runs, width, states } = message;
  checkStates(message);
  const head = new Uint8Array(STATES_HEADER_BYTES + TOKEN_RUN_BYTES * runs.length);
  const view = new DataView(head.buffer);
  view.setUint32(0, part, true);
  view.setUint8(4, split === 'train' ? 0 : 1);
  view.setUint8(5, gradient ? 1 : 0);
  view.setUint32(8, tokens, true);
  view.setUint32(12, runs.length, true);
  view.setUint32(16, states.length / width, true);
  view.setUint32(20, width, true);
  runs.forEach(({ row, first, count }, i) => {
    const at = STATES_HEADER_BYTES + TOKEN_RUN_BYTES * i;
    view.setUint32(at, row, true);
    view.setUint32(at + 4, first, true);
    view.setUint32(at + 8, count, true);
  });
  return [head, bytesOfFloats(states)];
}

/** STATES out of its payload, copied. @throws ProtocolError `E_MESSAGE_FORMAT` */
export function parseStates(payload: Uint8Array): StatesMessage {
  const view = viewOf('states', payload, STATES_HEADER_BYTES);
  const [split, gradient] = [view.getUint8(4), view.getUint8(5)];
  if (split > 1) throw malformed('states', `split ${split} is neither 0 (train) nor 1 (valid)`);
  if (gradient > 1) throw malformed('states', `gradient ${gradient} is neither 0 nor 1`);
  if (view.getUint16(6, true) !== 0) throw malformed('states', 'reserved bytes are not zero');
  const [runCount, rows, width] = [12, 16, 20].map((at) => view.getUint32(at, true));
  const statesAt = STATES_HEADER_BYTES + TOKEN_RUN_BYTES * runCount;
  viewOf('states', payload, statesAt + 4 * rows * width, true);
  const runs = Array.from({ length: runCount }, (_, i): TokenRun => {
    const at = STATES_HEADER_BYTES + TOKEN_RUN_BYTES * i;
    const [row, first, count] = [0, 4, 8].map((add) => view.getUint32(at + add, true));
    return { row, first, count };
  });
  const message: StatesMessage = {
    type: 'states',
    part: view.getUint32(0, true),
    split: split === 0 ? 'train' : 'valid',
    gradient: gradient === 1,
    tokens: view.getUint32(8, true),
    ...{ runs, width, states: floatsOf(payload, statesAt) },
  };
  checkStates(message);
  return message;
}

function checkStates({ part, tokens, runs, width, states }: StatesMessage): void {
  checkInteger('states', 'part', part, 0);
  checkInteger('states', 'width', width, 1);
  const rows = states.length / width;
  checkInteger('states', 'tokens of the part', rows, 1);
  checkInteger('states', 'tokens', tokens, rows);
  for (const { row, first, count } of runs) {
    checkInteger('states', 'row', row, 0);
    checkInteger('states', 'first', first, 0);
    checkInteger('states', 'count', count, 1);
  }
  const named = runs.reduce((sum, { count }) => sum + count, 0);
  if (named !== rows)
    throw malformed('states', `its runs have ${named} tokens, its states ${rows}`);
  checkFinite('states', states);
}

/**
 * The payload of GRADS, in parts; the last aliases the gradient.
 * @throws ProtocolError `E_MESSAGE_FORMAT` where they do not fit together
 */
export function encodeGrads(message: GradsMessage): Uint8Array[] {
  const { part, loss, width, gradient } = message;
  checkGrads(message);
  const head = new Uint8Array(STATES_HEADER_BYTES);
  const view = new DataView(head.buffer);
  view.setUint32(0, part, true);
  view.setUint32(4, gradient.length / width, true);
  view.setUint32(8, width, true);
  view.setFloat64(16, loss, true);
  return [head, bytesOfFloats(gradient)];
}

/** GRADS out of its payload, copied. @throws ProtocolError `E_MESSAGE_FORMAT` */
export function parseGrads(payload: Uint8Array): GradsMessage {
  const view = viewOf('grads', payload, STATES_HEADER_BYTES);
  const [part, rows, width] = [0, 4, 8].map((at) => view.getUint32(at, true));
  if (view.getUint32(12, true) !== 0) throw malformed('grads', 'reserved bytes are not zero');
  viewOf('grads', payload, STATES_HEADER_BYTES + 4 * rows * width, true);
  const loss = view.getFloat64(16, true);
  const gradient = floatsOf(payload, STATES_HEADER_BYTES);
  const message: GradsMessage = { type: 'grads', part, loss, width, gradient };
  checkGrads(message);
  return message;
}

function checkGrads({ part, loss, width, gradient }: GradsMessage): void {
  checkInteger('grads', 'part', part, 0);
  checkInteger('grads', 'width', width, 1);
  checkInteger('grads', 'tokens', gradient.length / width, 0);
  if (!Number.isFinite(loss)) throw malformed('grads', `loss ${loss} is not finite`);
  checkFinite('grads', gradient);
}

function checkFinite(type: MessageType, values: Float32Array): void {
  const at = values.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) throw malformed(type, `value ${at} is ${values[at]}; all must be finite`);
}

const bytesOfFloats = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** f32 from a place on that need not be a multiple of 4: a copy. */
const floatsOf = (payload: Uint8Array, at: number) =>
  new Float32Array(new Uint8Array(payload.subarray(at)).buffer);
