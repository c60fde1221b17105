import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { download } from '../../../src/cli/pull-download.ts';
import { hubAccess } from '../../../src/cli/pull-hub-access.ts';
import { gitHash, sha256 } from '../../support/fake-hub.ts';

/** One answer of a server: how far it gets, and how it treats a range. */
interface Answer {
  /** Share of what it should send after which it ends. */
  readonly share: number;
  readonly end: 'breaks' | 'ends' | 'flips' | 'refuses';
  readonly range: 'heeds' | 'ignores' | 'shifts';
}

const answer: fc.Arbitrary<Answer> = fc.record({
  share: fc.double({ min: 0, max: 1, noNaN: true }),
  end: fc.constantFrom('breaks', 'ends', 'flips', 'refuses'),
  range: fc.constantFrom('heeds', 'ignores', 'shifts'),
});

let server: Server;
let folder: string;
let content = Buffer.alloc(0);
let script: Answer[] = [];

function send(one: Answer, range: string | undefined, response: ServerResponse): void {
  const asked = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  const { length } = content;
  if (one.end === 'refuses') return void response.writeHead(503).end();
  if (asked >= length && asked > 0 && one.range === 'heeds') {
    return void response.writeHead(416).end();
  }
  const ranged = asked > 0 && one.range !== 'ignores';
  const from = ranged ? Math.min(length - 1, asked + (one.range === 'shifts' ? 1 : 0)) : 0;
  if (ranged) response.setHeader('Content-Range', `bytes ${from}-${length - 1}/${length}`);
  response.statusCode = ranged ? 206 : 200;
  const rest = Buffer.from(content.subarray(from));
  const part = rest.subarray(0, Math.floor(one.share * rest.length));
  // A flipped bit leaves the length as it is; only the hash can tell.
  if (one.end === 'flips' && part.length > 0) part[part.length - 1] ^= 1;
  if (one.end === 'flips') return void response.end(rest);
  if (one.end === 'ends') {
    response.flushHeaders(); // chunked: no length is announced
    return void response.end(part);
  }
  response.setHeader('Content-Length', rest.length);
  response.flushHeaders();
  response.write(part, () => setImmediate(() => response.destroy()));
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mobillm-download-'));
  server = createServer((request, response) => {
    const one = script.shift() ?? { share: 1, end: 'ends', range: 'heeds' };
    send(one, request.headers.range, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
after(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

test('whatever a server does for a while, the file is right in the end or nothing is said to be there', async () => {
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 5_000 }),
      fc.array(answer, { maxLength: 6 }),
      fc.option(fc.uint8Array({ maxLength: 6_000 }), { nil: undefined }),
      fc.boolean(),
      async (bytes, answers, begun, git) => {
        content = Buffer.from(bytes);
        script = [...answers];
        const partial = join(folder, `${round++}.incomplete`);
        if (begun) writeFileSync(partial, begun);
        const flips = answers.filter(({ end }) => end === 'flips').length;
        const fetching = download({
          url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/file`,
          place: { repo: 'a/b', revision: 'main' },
          hub: hubAccess({}),
          partial,
          size: content.length,
          digest: git
            ? { kind: 'git', hex: gitHash(content) }
            : { kind: 'sha256', hex: sha256(content) },
          pauseMs: 0,
        });
        const error = await fetching.then(
          () => undefined,
          (reason: unknown) => reason as Error & { code: string },
        );
        if (error === undefined) {
          assert.deepEqual(readFileSync(partial), content);
          return;
        }
        // Only what went wrong too often: five fruitless tries, or wrong bytes twice.
        assert.ok(['E_PULL', 'E_MODEL_HASH'].includes(error.code), error.stack);
        if (error.code === 'E_MODEL_HASH') {
          assert.ok(flips + (begun ? 1 : 0) >= 2, 'wrong bytes came once at the most');
          assert.ok(!existsSync(partial), 'wrong bytes are kept');
        } else assert.ok(answers.length >= 5, 'gave up too early');
      },
    ),
    { numRuns: 150 },
  );
});
