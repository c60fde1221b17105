/** Entry of the page that makes a server's steps in a browser: one engine, answering `RemoteEngine`. */
// Not by barrels: a browser loads this file without a bundler.
import { serveRpc } from '../platform/rpc.ts';
import { type SocketLike, socketPort } from '../platform/socket-port.ts';
import { gpuBackend } from '../tensor/index.ts';
import { CompiledEngine } from './compiled-engine.ts';
import { engineHandlers } from './remote-engine.ts';

const socket = new WebSocket(location.href.replace(/^http/, 'ws'));
await new Promise<void>((resolve, reject) => {
  socket.addEventListener('open', () => resolve());
  socket.addEventListener('error', () => reject(new Error('the server does not answer')));
});
serveRpc(
  socketPort(socket as SocketLike, 'the server is gone'),
  engineHandlers(async (mode) => {
    const gpu = await gpuBackend({ mode });
    return { engine: new CompiledEngine(gpu), adapter: gpu.adapter };
  }),
);
