// wllama (llama.cpp in WebAssembly) in a headless Chromium: a server for its files, the model and the
// page, and requests that the page asks for and answers.
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { openBrowser } from '../../src/server/index.ts';
import { findChromium, SOFTWARE_GPU } from '../../test/support/chromium.ts';
import type { EngineOptions, ModelReply, ModelRequest, ModelRunner } from './model-runner.ts';

const ESM = join(import.meta.dirname, 'node_modules', '@wllama', 'wllama', 'esm');

const TYPES: Record<string, string> = {
  '.js': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
};

/** What a page that shares memory between threads has to be served with. */
const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** Processes below this one that run Chromium, and theirs. */
function chromiumProcesses(): string[] {
  const parents = new Map<string, string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      // `pid (command) state parent ...`; a command may hold anything but its last `)` ends it.
      const [, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
      parents.set(pid, parent);
    } catch {
      // It ended meanwhile.
    }
  }
  const below = (pid: string, root: string): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === root || below(parent, root));
  };
  return [...parents.keys()].filter((pid) => {
    if (!below(pid, String(process.pid))) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('chrom');
    } catch {
      return false;
    }
  });
}

/** Seconds of a tick of /proc: `getconf CLK_TCK` is 100 on all of Linux. */
const TICK = 0.01;

function cpuSeconds(pids: readonly string[]): number {
  let ticks = 0;
  for (const pid of pids) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It ended meanwhile.
    }
  }
  return ticks * TICK;
}

/** Largest peak of one of the processes: the page's, in which the model lives. */
function peakRss(pids: readonly string[]): number {
  return Math.max(
    0,
    ...pids.map((pid) => {
      try {
        return (
          Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
        );
      } catch {
        return 0;
      }
    }),
  );
}

/** Why wllama cannot run here; undefined when it can. */
export function wllamaMissing(): string | undefined {
  return findChromium() ? undefined : 'no Chromium on this machine ($CHROMIUM names one)';
}

/** Opens the page and loads the model in it. */
export async function startWllama(options: EngineOptions): Promise<ModelRunner> {
  const chromium = findChromium();
  if (!chromium) throw new Error('wllama: no Chromium on this machine');
  let waiting: ((request: ModelRequest) => void) | undefined;
  let pending: ModelRequest | undefined;
  let answer: (reply: ModelReply) => void = () => {};

  const files: Record<string, string> = {
    '/': join(import.meta.dirname, 'wllama-page.html'),
    '/model': options.model,
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    for (const [name, value] of Object.entries(ISOLATED)) response.setHeader(name, value);
    if (pathname === '/request') {
      const give = (next: ModelRequest) => response.end(JSON.stringify(next));
      if (pending) give(pending);
      else waiting = give;
      pending = undefined;
      return;
    }
    if (pathname === '/reply') {
      let body = '';
      request.setEncoding('utf8').on('data', (text) => {
        body += text;
      });
      request.on('end', () => {
        response.end();
        answer(JSON.parse(body) as ModelReply);
      });
      return;
    }
    const file = files[pathname] ?? join(ESM, pathname);
    if (pathname.includes('..') || !existsSync(file)) {
      response.statusCode = 404;
      response.end();
      return;
    }
    response.setHeader('content-type', TYPES[extname(file)] ?? 'application/octet-stream');
    response.setHeader('content-length', statSync(file).size);
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((listening) => {
    server.listen(0, '127.0.0.1', listening);
  });
  const { port } = server.address() as AddressInfo;
  const reply = () =>
    new Promise<ModelReply>((resolve) => {
      answer = resolve;
    });
  const loaded = reply();
  const browser = openBrowser(
    chromium,
    `http://127.0.0.1:${port}/?threads=${options.threads}`,
    SOFTWARE_GPU,
  );
  const settled = async (wanted: Promise<ModelReply>) => {
    const got = await Promise.race([wanted, browser.ended]);
    if (got.kind === 'failed') throw new Error(`wllama: ${got.message}`);
    return got;
  };
  const close = async () => {
    await browser.close();
    server.closeAllConnections();
    await new Promise((closed) => {
      server.close(closed);
    });
  };
  const ask = (request: ModelRequest) => {
    const wanted = reply();
    if (waiting) waiting(request);
    else pending = request;
    waiting = undefined;
    return settled(wanted);
  };
  try {
    const ready = await settled(loaded);
    const pids = chromiumProcesses();
    return {
      engine: 'wllama',
      variant: ready.kind === 'ready' ? ready.variant : '',
      async next(ids) {
        const got = await ask({ kind: 'next', ids });
        return got.kind === 'next' ? got.token : Number.NaN;
      },
      async run(test, ids) {
        const before = cpuSeconds(pids);
        const got = await ask({ kind: 'run', test, ids });
        if (got.kind !== 'run') throw new Error(`wllama: answered ${got.kind}`);
        return { seconds: got.seconds, cpuSeconds: cpuSeconds(pids) - before };
      },
      peakRss: () => peakRss(pids),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
