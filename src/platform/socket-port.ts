import { BackendError } from '../tensor/errors.ts';
import { messageFromBytes, messageToBytes } from './message-bytes.ts';
import type { WorkerPort } from './worker.ts';

/** What a browser's WebSocket and that of Node's package `ws` have in common. */
export interface SocketLike {
  binaryType: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  addEventListener(type: 'close' | 'error', listener: () => void): void;
}

/**
 * An end of a channel over an open socket, to another process. Values cross by `messageToBytes`, and
 * nothing moves: what is named in `transfer` stays.
 * @param lost what it means that the other end is gone
 */
export function socketPort(socket: SocketLike, lost: string): WorkerPort {
  let ending = false;
  let gone: Error | undefined;
  let onError: ((error: Error) => void) | undefined;
  const fail = () => {
    if (ending || gone) return;
    gone = new BackendError(lost);
    onError?.(gone);
  };
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('close', fail);
  socket.addEventListener('error', fail);
  return {
    postMessage: (value) => socket.send(messageToBytes(value)),
    onMessage(callback) {
      socket.addEventListener('message', ({ data }) => {
        callback(messageFromBytes(data as ArrayBuffer));
      });
    },
    onError(callback) {
      onError = callback;
      if (gone) callback(gone);
    },
    async terminate() {
      ending = true;
      socket.close();
    },
  };
}
