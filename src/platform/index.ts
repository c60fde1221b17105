/**
 * What differs between Node and a browser, as interfaces, and what needs neither: byte sources, a
 * clock, calls to another thread. The Node side is `platform/node`.
 * @module
 */
export { type ByteSource, checkRange, type Hasher, memoryByteSource } from './byte-source.ts';
export { monotonicMs, stopwatch } from './clock.ts';
export {
  connectRpc,
  type RpcClient,
  type RpcContext,
  type RpcHandlers,
  serveRpc,
} from './rpc.ts';
export type { WorkerPort } from './worker.ts';
