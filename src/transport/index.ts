/** Moves bytes between a device and a server; knows no model. `ws-node.ts` is imported by itself. */
export * from './channel.ts';
export * from './clock.ts';
export * from './connection.ts';
export type { ConnectionOptions } from './connection-options.ts';
export * from './files.ts';
export * from './flow.ts';
export * from './frames.ts';
export * from './halves.ts';
export type { ClockSample } from './heartbeat.ts';
export * from './messages.ts';
export * from './payloads.ts';
export * from './session.ts';
export { STATES_HEADER_BYTES, TOKEN_RUN_BYTES } from './states-payload.ts';
export { SUBPROTOCOL } from './subprotocol.ts';
export { type ConnectOptions, connectWebSocket, webSocketChannel } from './web-socket.ts';
