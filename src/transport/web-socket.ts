/** The client over the platform's own WebSocket: browsers, workers, and Node from version 22. */
import { ProtocolError } from '../tensor/errors.ts';
import { type Channel, CLOSE_ABNORMAL } from './channel.ts';
import { Connection } from './connection.ts';
import type { ConnectionOptions } from './connection-options.ts';
import { offeredProtocols, SUBPROTOCOL } from './subprotocol.ts';

/** Options of a client. */
export interface ConnectOptions extends Omit<ConnectionOptions, 'role' | 'remote'> {
  /** The server's token, where it asks for one. */
  readonly token?: string;
  /** How long the socket may take to open, in ms. */
  readonly connectTimeoutMs?: number;
  /** Gives the attempt up; of no effect once the socket is open. */
  readonly signal?: AbortSignal;
}

/** Default of ConnectOptions.connectTimeoutMs. */
export const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;

/**
 * Connects to a server as a device; the token travels among the subprotocols.
 * @throws ProtocolError (as a rejection) `E_SERVER_UNREACHABLE`; a browser is not told why, so a
 *   wrong token looks the same.
 */
export function connectWebSocket(url: string, options: ConnectOptions = {}): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const refuse = (why: string) => {
      clearTimeout(timer);
      reject(unreachable(url, why));
    };
    const timer = setTimeout(() => {
      refuse('it does not answer');
      socket?.close();
    }, options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS);
    let socket: WebSocket | undefined;
    try {
      socket = new WebSocket(url, offeredProtocols(options.token));
    } catch (error) {
      refuse(error instanceof Error ? error.message : String(error));
      return;
    }
    const opened = socket;
    options.signal?.addEventListener('abort', () => {
      if (opened.readyState !== WebSocket.CONNECTING) return;
      refuse('the attempt was given up');
      opened.close();
    });
    opened.binaryType = 'arraybuffer';
    opened.onerror = () => refuse('the socket did not open: not running, or the token is wrong');
    opened.onclose = opened.onerror;
    opened.onopen = () => {
      clearTimeout(timer);
      if (opened.protocol !== SUBPROTOCOL) {
        opened.close();
        reject(wrongProtocol(url, opened.protocol));
      } else {
        resolve(
          new Connection(webSocketChannel(opened), { ...options, role: 'device', remote: url }),
        );
      }
    };
  });
}

/** A channel over an open WebSocket of the platform. */
export function webSocketChannel(socket: WebSocket): Channel {
  socket.binaryType = 'arraybuffer';
  socket.onerror = null;
  let closed: ((code: number, reason: string) => void) | undefined;
  socket.onclose = (event) => closed?.(event.code || CLOSE_ABNORMAL, event.reason);
  return {
    send(bytes) {
      if (socket.readyState !== WebSocket.OPEN) throw new Error('web socket: not open');
      socket.send(bytes as Uint8Array<ArrayBuffer>);
    },
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    onMessage(handler) {
      socket.onmessage = ({ data }) => {
        handler(
          typeof data === 'string'
            ? new TextEncoder().encode(data)
            : new Uint8Array(data as ArrayBuffer),
        );
      };
    },
    onClose(handler) {
      closed = handler;
    },
    close(code, reason) {
      socket.close(code, reason);
    },
  };
}

/** The fault of a server that cannot be reached; says what to do. */
export function unreachable(url: string, why: string, cause?: unknown): ProtocolError {
  return new ProtocolError(
    `connect: cannot reach ${url}: ${why}; start the server with "mobillm serve", or check host, ` +
      'port and firewall',
    'E_SERVER_UNREACHABLE',
    { cause },
  );
}

/** The fault of a server that speaks another subprotocol, or none. */
export function wrongProtocol(url: string, theirs: string): ProtocolError {
  return new ProtocolError(
    `connect: ${url} speaks ${theirs || 'no version of mobillm’s protocol'}, this end speaks ` +
      `${SUBPROTOCOL}; use the same release of mobillm on both`,
    'E_PROTOCOL_VERSION',
  );
}
