import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import * as nodeModule from 'node:module';
import type { AddressInfo } from 'node:net';
import { extname, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { connectRpc, type RpcClient } from '../platform/rpc.ts';
import { type SocketLike, socketPort } from '../platform/socket-port.ts';
import { BackendError } from '../tensor/index.ts';
import { openBrowser } from './chromium.ts';
import { removeStaleProfiles } from './stale-profiles.ts';

/** A browser that has not come to its page after so long does not come, in ms. */
const START_MS = 60_000;

/** Sources, or in the published package what was compiled of them. */
const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The page's entry, below `ROOT`. */
const ENTRY = extname(import.meta.url) === '.ts' ? 'engine-page.ts' : 'engine-page.js';

/** gpu.js for browsers: a script that leaves one name behind. @throws BackendError where it is not installed */
function gpuScript(): string {
  try {
    const { resolve: find } = nodeModule.createRequire(import.meta.url);
    return find('gpu.js/dist/gpu-browser.min.js');
  } catch (error) {
    throw new BackendError(
      'gpuBackend: the optional package gpu.js does not load here (npm install gpu.js)',
      { cause: error },
    );
  }
}

const PAGE = `<!doctype html>
<script>
  addEventListener('error', ({ message }) => fetch('failed', { method: 'POST', body: message }));
  addEventListener('unhandledrejection', ({ reason }) => fetch('failed', { method: 'POST', body: String(reason) }));
</script>
<script type="importmap">{ "imports": { "gpu.js": "./gpu-js-module" } }</script>
<script src="gpu-js"></script>
<script type="module" src="modules/server/${ENTRY}" onerror="dispatchEvent(new ErrorEvent('error', { message: 'its modules do not load' }))"></script>
`;

/** A page that computes, and what is asked of it. */
export interface PageHost {
  readonly rpc: RpcClient;
  /** Ends the browser, and with it whatever runs there. */
  close(): Promise<void>;
}

/**
 * Serves the engine's modules to this machine under a secret address, opens it in a headless
 * Chromium, and connects to the page that comes of it by a WebSocket.
 * @throws BackendError where no page comes up
 */
export async function openPageHost(program: string): Promise<PageHost> {
  const script = gpuScript();
  const base = `/${randomUUID()}/`;
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const path = pathname.startsWith(base) ? pathname.slice(base.length) : undefined;
    const send = (type: string, body: string | Buffer) => {
      response.setHeader('content-type', type);
      response.end(body);
    };
    if (path === '') return send('text/html', PAGE);
    if (path === 'gpu-js') return send('text/javascript', readFileSync(script));
    if (path === 'gpu-js-module') return send('text/javascript', 'export default globalThis.GPU;');
    if (path === 'failed') {
      let text = '';
      request.setEncoding('utf8').on('data', (part) => {
        text = (text + part).slice(0, 2000);
      });
      request.on('end', () => {
        fail(new BackendError(`the page in Chromium failed: ${text}`));
        response.end();
      });
      return;
    }
    const source = path?.startsWith('modules/') ? moduleText(path.slice('modules/'.length)) : null;
    if (source !== null) return send('text/javascript', source);
    response.statusCode = 404;
    response.end();
  });
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 0 });
  const connected = new Promise<SocketLike>((come) => {
    server.on('upgrade', (request, socket, head) => {
      if (request.url !== base) return socket.destroy();
      sockets.handleUpgrade(request, socket, head, (one) => come(one as unknown as SocketLike));
    });
  });
  await new Promise<void>((listening, refused) => {
    server.once('error', refused).listen(0, '127.0.0.1', listening);
  });
  const { port } = server.address() as AddressInfo;
  removeStaleProfiles();
  const browser = openBrowser(program, `http://127.0.0.1:${port}${base}`);
  const close = async () => {
    for (const one of sockets.clients) one.terminate();
    await browser.close();
    server.close();
    server.closeAllConnections();
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const text = `Chromium (${program}) opened no page within ${START_MS / 1000} s`;
    timer = setTimeout(() => reject(new BackendError(text)), START_MS);
  });
  try {
    const dead = browser.ended.catch((error: Error) => {
      throw new BackendError(`--gpu-host chromium: ${error.message}`, { cause: error });
    });
    const socket = await Promise.race([connected, failed, dead, late]);
    const rpc = connectRpc(socketPort(socket, 'Chromium, which trains, has ended'));
    return {
      rpc,
      async close() {
        await rpc.terminate();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** A module below `ROOT` as a browser takes it; null where there is none. */
function moduleText(path: string): string | null {
  const file = resolve(ROOT, path);
  const type = extname(file);
  if (!file.startsWith(ROOT + (ROOT.endsWith(sep) ? '' : sep)) || !existsSync(file)) return null;
  if (type === '.js') return readFileSync(file, 'utf8');
  return type === '.ts' ? withoutTypes(readFileSync(file, 'utf8')) : null;
}

/** Sources run on a Node that strips types, and only there; that it calls this experimental helps nobody. */
function withoutTypes(text: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return nodeModule.stripTypeScriptTypes(text);
  } finally {
    process.emitWarning = emitWarning;
  }
}
