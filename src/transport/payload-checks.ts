/** What parsers and encoders of binary payloads hold them against. */
import { ProtocolError } from '../tensor/errors.ts';
import type { MessageType } from './messages.ts';

/**
 * A view over a payload that is at least, or exactly, so long.
 * @throws ProtocolError `E_MESSAGE_FORMAT` for one that is not
 */
export function viewOf(
  type: MessageType,
  payload: Uint8Array,
  length: number,
  exact = false,
): DataView {
  if (payload.length < length || (exact && payload.length !== length)) {
    throw malformed(
      type,
      `the payload of ${payload.length} bytes is not ${exact ? '' : 'at least '}${length} long`,
    );
  }
  return new DataView(payload.buffer, payload.byteOffset, payload.length);
}

/** @throws ProtocolError `E_MESSAGE_FORMAT` unless it is an integer of those bounds */
export function checkInteger(
  type: MessageType,
  field: string,
  value: number,
  min: number,
  max = 2 ** 32 - 1,
): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw malformed(type, `${field} ${value} is not an integer of ${min} to ${max}`);
  }
}

/** The error of a payload that is not what its type demands. */
export function malformed(type: MessageType, why: string, cause?: unknown): ProtocolError {
  return new ProtocolError(`message ${type.toUpperCase()}: ${why}`, 'E_MESSAGE_FORMAT', { cause });
}
