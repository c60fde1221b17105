/** The server, and the client for Node, over the package `ws`; nothing else imports it. */
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { MobillmError, ProtocolError } from '../tensor/errors.ts';
import { type Channel, CLOSE_VERSION } from './channel.ts';
import { Connection } from './connection.ts';
import type { ConnectionOptions } from './connection-options.ts';
import { DEFAULT_MAX_PAYLOAD, FRAME_HEADER_BYTES } from './frames.ts';
import { bringsToken, chooseProtocol, offeredProtocols, SUBPROTOCOL } from './subprotocol.ts';
import {
  type ConnectOptions,
  DEFAULT_CONNECT_TIMEOUT_MS,
  unreachable,
  wrongProtocol,
} from './web-socket.ts';

/** How long a peer may take to answer a close before its socket is cut, in ms. */
const CLOSE_GRACE_MS = 2_000;

/** Close code of a server that stops (RFC 6455, 7.4.1). */
const CLOSE_GOING_AWAY = 1001;

/** Bytes of a refusal's text that are read. */
const MAX_REFUSAL_BYTES = 2_000;

/**
 * Connects to a server as a device; the token travels in the Authorization header where it can.
 * @throws ProtocolError (as a rejection) `E_SERVER_UNREACHABLE`, `E_UNAUTHORIZED`, or
 *   `E_PROTOCOL_VERSION` (which may also show at the first receive).
 */
export function connectWs(url: string, options: ConnectOptions = {}): Promise<Connection> {
  return new Promise((resolve, reject) => {
    let socket: WebSocket;
    try {
      const { token } = options;
      // A header holds printable ASCII; any other token goes the way it goes from a browser.
      const inHeader = token !== undefined && /^[\x21-\x7e]+$/.test(token);
      socket = new WebSocket(url, offeredProtocols(inHeader ? undefined : token), {
        perMessageDeflate: false,
        maxPayload: socketLimit(options),
        handshakeTimeout: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
        headers: inHeader ? { authorization: `Bearer ${token}` } : {},
      });
    } catch (error) {
      reject(unreachable(url, (error as Error).message, error));
      return;
    }
    options.signal?.addEventListener('abort', () => {
      if (socket.readyState === WebSocket.CONNECTING) socket.terminate();
    });
    socket.once('unexpected-response', (request, response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text = (text + part).slice(0, MAX_REFUSAL_BYTES);
        if (text.length === MAX_REFUSAL_BYTES) response.destroy();
      });
      // A server that keeps its connections alive ends its answer long before it closes.
      response.on('end', () => request.destroy());
      response.on('close', () => {
        request.destroy();
        reject(refusal(url, response.statusCode ?? 0, text));
      });
    });
    socket.once('error', (error: Error & { code?: string }) => {
      if (/subprotocol/.test(error.message)) reject(wrongProtocol(url, ''));
      else reject(unreachable(url, error.code ?? error.message, error));
    });
    socket.once('open', () => {
      socket.removeAllListeners('error');
      resolve(new Connection(wsChannel(socket), { ...options, role: 'device', remote: url }));
    });
  });
}

/** Options of a server. */
export interface ServeOptions extends Omit<ConnectionOptions, 'role' | 'remote'> {
  readonly host?: string;
  /** 0 takes any free port. */
  readonly port?: number;
  /** Where given, clients without it are refused. */
  readonly token?: string;
  /** Told of clients that were not let in. */
  readonly onRefused?: (error: ProtocolError, remote: string) => void;
}

/** A server that listens. */
export interface WsServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Stops listening and closes every connection. */
  close(): Promise<void>;
}

/**
 * Listens for devices. Each connection is handed to `onConnection`; where that throws or rejects,
 * the connection fails with the error's code, or `E_SERVER` where it has none.
 * @throws ProtocolError (as a rejection) `E_LISTEN` where the address cannot be had.
 */
export async function serveWs(
  options: ServeOptions,
  onConnection: (connection: Connection) => void | Promise<void>,
): Promise<WsServer> {
  const { host = '127.0.0.1', port = 0, token, onRefused } = options;
  const server = new WebSocketServer({
    host,
    port,
    perMessageDeflate: false,
    maxPayload: socketLimit(options),
    handleProtocols: (offered) => chooseProtocol(offered) ?? false,
    verifyClient: ({ req }, answer) => {
      const offered = (req.headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/);
      const from = req.socket.remoteAddress ?? 'unknown address';
      const refuse = (status: number, code: string, text: string) => {
        onRefused?.(new ProtocolError(`client at ${from}: ${text}`, code), from);
        answer(false, status, text, { 'content-type': 'text/plain' });
      };
      if (token !== undefined && !bringsToken(token, req.headers.authorization, offered)) {
        refuse(401, 'E_UNAUTHORIZED', 'the token is missing or wrong');
      } else if (chooseProtocol(offered) === undefined) {
        refuse(426, 'E_PROTOCOL_VERSION', `subprotocol ${SUBPROTOCOL} was not offered`);
      } else answer(true);
    },
  });
  await new Promise<void>((resolve, reject) => {
    server.once('listening', resolve);
    server.once('error', (error: Error & { code?: string }) => {
      const why = error.code === 'EADDRINUSE' ? 'the address is in use' : error.message;
      reject(
        new ProtocolError(`serve: cannot listen on ${host}:${port}: ${why}`, 'E_LISTEN', {
          cause: error,
        }),
      );
    });
  });
  server.on('connection', (socket, request) => {
    const remote = `${request.socket.remoteAddress}:${request.socket.remotePort}`;
    if (socket.protocol !== SUBPROTOCOL) {
      refuseVersion(socket, remote, onRefused);
      return;
    }
    const connection = new Connection(wsChannel(socket), { ...options, role: 'server', remote });
    serveOne(connection, onConnection);
  });
  const { port: listening } = server.address() as { port: number };
  return {
    host,
    port: listening,
    url: `ws://${host.includes(':') ? `[${host}]` : host}:${listening}`,
    close: () => closeServer(server),
  };
}

async function serveOne(
  connection: Connection,
  onConnection: (connection: Connection) => void | Promise<void>,
): Promise<void> {
  try {
    await onConnection(connection);
  } catch (error) {
    const code = error instanceof MobillmError ? error.code : 'E_SERVER';
    connection.fail(code, error instanceof Error ? error.message : String(error));
  }
}

/**
 * Another version is let through the upgrade and told by a close frame: a browser shows its page
 * neither the status nor the text of a refused upgrade.
 */
function refuseVersion(
  socket: WebSocket,
  remote: string,
  onRefused: ServeOptions['onRefused'],
): void {
  // A close reason has room for 123 bytes.
  const theirs = socket.protocol.slice(0, 20);
  const text = `the client speaks ${theirs}, the server ${SUBPROTOCOL}; use the same release on both`;
  onRefused?.(new ProtocolError(`client at ${remote}: ${text}`, 'E_PROTOCOL_VERSION'), remote);
  socket.on('error', () => socket.terminate());
  socket.close(CLOSE_VERSION, text);
}

async function closeServer(server: WebSocketServer): Promise<void> {
  for (const socket of server.clients) socket.close(CLOSE_GOING_AWAY, 'the server stops');
  const cut = setTimeout(() => {
    for (const socket of server.clients) socket.terminate();
  }, CLOSE_GRACE_MS);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearTimeout(cut);
}

function wsChannel(socket: WebSocket): Channel {
  // A faulty peer shows as an error and a close; the close says all that is needed.
  socket.on('error', () => {});
  return {
    send(bytes) {
      if (socket.readyState !== WebSocket.OPEN) throw new Error('web socket: not open');
      socket.send(bytes);
    },
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    onMessage(handler) {
      socket.on('message', (data: RawData) => handler(plainBytes(data)));
    },
    onClose(handler) {
      socket.on('close', (code, reason) => handler(code, reason.toString('utf8')));
    },
    close(code, reason) {
      if (socket.readyState === WebSocket.CLOSED) return;
      socket.close(code, reason);
      // A dead peer never answers the close frame.
      const cut = setTimeout(() => socket.terminate(), CLOSE_GRACE_MS);
      cut.unref();
      socket.once('close', () => clearTimeout(cut));
    },
  };
}

/** The default binaryType gives one Buffer a message; handed on as what browsers have too. */
function plainBytes(data: RawData): Uint8Array {
  const buffer = data as Buffer;
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

const socketLimit = (options: { maxPayload?: number }) =>
  FRAME_HEADER_BYTES + (options.maxPayload ?? DEFAULT_MAX_PAYLOAD);

function refusal(url: string, status: number, text: string): ProtocolError {
  if (status === 401 || status === 403) {
    return new ProtocolError(
      `connect: ${url} refuses this client: ${text}; give the token the server was started with`,
      'E_UNAUTHORIZED',
    );
  }
  if (status === 426) return wrongProtocol(url, `another protocol (${text})`);
  return unreachable(url, `it answered HTTP ${status}, so it is no mobillm server`);
}
