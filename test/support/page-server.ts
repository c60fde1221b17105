import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { extname, resolve, sep } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

/** Where a page finds what its modules import by name. */
const IMPORTS = {
  'node:assert/strict': '/test/browser/page/assert.ts',
  'fast-check': '/node_modules/fast-check/lib/fast-check.js',
  'pure-rand/': '/node_modules/pure-rand/lib/esm/',
  'gpu.js': '/test/browser/page/gpu-js.ts',
};

const TYPES: Record<string, string> = { '.ts': 'text/javascript', '.js': 'text/javascript' };

/** A server of this checkout's modules, and what pages told it. */
export interface PageServer {
  /** The address of a page that runs the module at `path` of the checkout. */
  pageOf(path: string, query?: Readonly<Record<string, string>>): string;
  close(): Promise<void>;
}

/**
 * Serves the sources as a browser takes them: types stripped, names resolved by an import map, no
 * bundler. What a page posts to `/report` goes to `onReport`. An `isolated` page has the headers under
 * which browsers let threads share memory.
 */
export async function servePages(
  onReport: (report: unknown) => void,
  { isolated = false } = {},
): Promise<PageServer> {
  const server = createServer((request, response) => {
    if (isolated) {
      response.setHeader('cross-origin-opener-policy', 'same-origin');
      response.setHeader('cross-origin-embedder-policy', 'require-corp');
    }
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
    if (request.method === 'POST') {
      let body = '';
      request.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      request.on('end', () => {
        onReport(JSON.parse(body));
        response.end();
      });
      return;
    }
    if (pathname === '/page') {
      const map = JSON.stringify({ imports: IMPORTS });
      response.setHeader('content-type', 'text/html');
      response.end(
        `<!doctype html><script type="importmap">${map}</script><script src="/node_modules/gpu.js/dist/gpu-browser.js"></script><script type="module" src="${searchParams.get('module')}"></script>`,
      );
      return;
    }
    const file = [resolve(ROOT, `.${pathname}`), resolve(ROOT, `.${pathname}.js`)].find(
      (path) => path.startsWith(ROOT + sep) && extname(path) in TYPES && existsSync(path),
    );
    if (!file) {
      response.statusCode = 404;
      response.end();
      return;
    }
    const text = readFileSync(file, 'utf8');
    response.setHeader('content-type', TYPES[extname(file)]);
    response.end(extname(file) === '.ts' ? stripTypeScriptTypes(text) : text);
  });
  await new Promise<void>((listening) => {
    server.listen(0, '127.0.0.1', listening);
  });
  const { port } = server.address() as AddressInfo;
  return {
    pageOf: (path, query = {}) =>
      `http://127.0.0.1:${port}/page?${new URLSearchParams({ module: `/${path}`, ...query })}`,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}
