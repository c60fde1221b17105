import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** How a fake hub misbehaves; all that is left out behaves. */
export interface HubFaults {
  /** Each answer with a file's bytes ends after so many, by a broken connection. */
  breakAfter?: number;
  /** Breaks that are made; then all is well. */
  breaks?: number;
  /** So many answers stop in the middle and say nothing more. */
  stalls?: number;
  /** Ends early in good order, as a chunked answer that lost its rest. */
  endAfter?: number;
  /** Answers ranges with the whole file. */
  ignoreRanges?: boolean;
  /** Answers a range with one that starts elsewhere. */
  shiftRanges?: boolean;
  /** So many answers carry wrong bytes. */
  wrong?: number;
  /** So many answers say 503 first. */
  busy?: number;
  /** Only requests with this token are answered. */
  token?: string;
  /** With a token, access is still refused. */
  gated?: boolean;
}

/** A request that was made. */
export interface HubRequest {
  readonly url: string;
  readonly host: 'hub' | 'cdn';
  readonly token?: string;
  readonly range?: string;
}

const lfs = (path: string) => /\.(safetensors|gguf)$/.test(path);

/** Hash of a blob as git names it. */
export function gitHash(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.byteLength}\0`).update(bytes).digest('hex');
}

/** SHA-256 in hex. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A hub on this machine: lists one repository, and sends its large files through a second host. */
export class FakeHub {
  readonly repo = 'someone/tiny';
  readonly commit = 'c'.repeat(40);
  readonly requests: HubRequest[] = [];
  files: Record<string, Buffer> = {};
  faults: HubFaults = {};
  /** Requests for bytes that were being answered at the same moment, at most. */
  mostAtOnce = 0;
  private atOnce = 0;
  private readonly servers: Server[] = [];

  /** Starts listening. */
  static async start(): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const host of ['hub', 'cdn'] as const) {
      const server = createServer((request, response) => hub.answer(host, request, response));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      hub.servers.push(server);
    }
    return hub;
  }

  /** Of the hub, for `HF_ENDPOINT`. */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.servers[0].address() as AddressInfo).port}`;
  }

  /** Forgets what was asked; all is well again. */
  reset(files: Record<string, Buffer>): void {
    this.files = files;
    this.faults = {};
    this.requests.length = 0;
    this.mostAtOnce = 0;
  }

  /** Ends it. */
  stop(): void {
    for (const server of this.servers) {
      server.closeAllConnections();
      server.close();
    }
  }

  private answer(host: 'hub' | 'cdn', request: IncomingMessage, response: ServerResponse): unknown {
    const { authorization, range } = request.headers;
    const url = request.url ?? '';
    this.requests.push({ url, host, token: authorization, range });
    const refuse = (status: number, code?: string) =>
      response.writeHead(status, code ? { 'X-Error-Code': code } : {}).end();
    if (host === 'cdn') return this.sendBytes(url.slice(1), range, response);
    const { token, gated } = this.faults;
    if (!url.includes(this.repo)) return refuse(authorization ? 404 : 401, 'RepoNotFound');
    if (token && authorization === undefined) return refuse(401, gated ? 'GatedRepo' : undefined);
    if (token && authorization !== `Bearer ${token}`) return refuse(401);
    if (gated) return refuse(403, 'GatedRepo');
    const api = `/api/models/${this.repo}`;
    const json = (value: unknown) =>
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    if (url.startsWith(`${api}/revision/`)) {
      const revision = decodeURIComponent(url.slice(`${api}/revision/`.length).split('?')[0]);
      if (!['main', 'v1', this.commit].includes(revision)) return refuse(404, 'RevisionNotFound');
      return json({ _id: '1', id: this.repo, sha: this.commit, likes: 0, downloads: 0 });
    }
    if (url.startsWith(`${api}/tree/${this.commit}`)) {
      return json(
        Object.entries(this.files).map(([path, bytes]) => ({
          type: 'file',
          path,
          oid: lfs(path) ? 'f'.repeat(40) : gitHash(bytes),
          size: bytes.length,
          ...(lfs(path)
            ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 99 } }
            : {}),
        })),
      );
    }
    const start = `/${this.repo}/resolve/${this.commit}/`;
    const path = decodeURIComponent(url.slice(start.length));
    if (!url.startsWith(start) || !this.files[path]) return refuse(404, 'EntryNotFound');
    if (lfs(path)) {
      const { port } = this.servers[1].address() as AddressInfo;
      return response.writeHead(302, { Location: `http://localhost:${port}/${path}` }).end();
    }
    return this.sendBytes(path, range, response);
  }

  private sendBytes(path: string, range: string | undefined, response: ServerResponse): void {
    const { faults } = this;
    this.atOnce++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce);
    response.on('close', () => this.atOnce--);
    if (faults.busy && faults.busy-- > 0) return void response.writeHead(503).end();
    let bytes = this.files[path];
    if (faults.wrong && faults.wrong-- > 0) bytes = Buffer.alloc(bytes.length, 'x');
    const asked = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    const ranged = asked > 0 && !faults.ignoreRanges;
    const from = ranged && faults.shiftRanges ? asked + 1 : ranged ? asked : 0;
    const { length } = bytes;
    if (ranged) response.setHeader('Content-Range', `bytes ${from}-${length - 1}/${length}`);
    const rest = bytes.subarray(from);
    response.statusCode = ranged ? 206 : 200;
    if (faults.stalls && faults.stalls-- > 0) {
      response.setHeader('Content-Length', rest.length);
      return void response.write(rest.subarray(0, rest.length >> 1));
    }
    const broken = faults.breakAfter ?? faults.endAfter;
    if (broken === undefined || faults.breaks === 0 || rest.length <= broken) {
      response.setHeader('Content-Length', rest.length);
      // Late enough that parallel requests overlap.
      setTimeout(() => response.end(rest), 20);
      return;
    }
    if (faults.breaks !== undefined) faults.breaks--;
    if (faults.breakAfter !== undefined) response.setHeader('Content-Length', rest.length);
    response.write(rest.subarray(0, broken), () =>
      faults.breakAfter === undefined ? response.end() : setTimeout(() => response.destroy(), 10),
    );
  }
}
