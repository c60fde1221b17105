import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { type Connection, connectWebSocket, sendFile } from '../../../src/transport/index.ts';
import { connectWs, type ServeOptions, serveWs } from '../../../src/transport/ws-node.ts';
import { HELLO, hasCode, JOB, tapsOf, toRunning, WELCOME } from '../../support/transport.ts';

/** A server on a free port that goes with the test; connections are handed out in order. */
async function listen(t: TestContext, options: ServeOptions = {}) {
  const arrived: Connection[] = [];
  const waiting: ((connection: Connection) => void)[] = [];
  const server = await serveWs(options, (connection) => {
    const next = waiting.shift();
    if (next) next(connection);
    else arrived.push(connection);
  });
  t.after(() => server.close());
  const next = () =>
    new Promise<Connection>((resolve) => {
      const connection = arrived.shift();
      if (connection) resolve(connection);
      else waiting.push(resolve);
    });
  return { ...server, next };
}

/** A bare WebSocket server that answers with the subprotocol it is given. */
async function otherServer(t: TestContext, protocol: string | false): Promise<string> {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: () => protocol,
  });
  t.after(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

for (const [name, connect] of [
  ['ws', connectWs],
  ['the platform’s WebSocket', connectWebSocket],
] as const) {
  test(`a session over loopback with ${name}: data up under credit, a file down`, async (t) => {
    const server = await listen(t, { token: 'пароль 1' });
    const device = await connect(server.url, { token: 'пароль 1', highWaterMark: 1 });
    const peer = await server.next();
    await toRunning(device, peer, 20_000);
    const received = (async () => {
      let rows = 0;
      for await (const message of peer) {
        if (message.type === 'taps') rows += message.rowCount;
        if (message.type === 'finish') break;
      }
      await peer.send({ type: 'result', metrics: { rows } });
      await sendFile(peer, 'a.bin', new Uint8Array(9_000), 1_000);
      await peer.send({ type: 'done' });
      return rows;
    })();
    for (let i = 0; i < 40; i++) await device.send(tapsOf(50));
    await device.send({ type: 'finish', rows: { train: 2000, valid: 0 } });
    let fileBytes = 0;
    for await (const message of device) {
      if (message.type === 'file') fileBytes += message.data.length;
      if (message.type === 'done') break;
    }
    assert.equal(await received, 2000);
    assert.equal(fileBytes, 9_000);
    await device.close();
    assert.equal(await peer.receive(), undefined);
    assert.deepEqual(device.bytesSent, peer.bytesReceived);
  });
}

test('nobody listens', async () => {
  const server = await serveWs({}, () => {});
  await server.close();
  const unreachable = hasCode('E_SERVER_UNREACHABLE', /ws:\/\/127.0.0.1:\d+.*mobillm serve/);
  await assert.rejects(connectWs(server.url), unreachable);
  await assert.rejects(connectWebSocket(server.url), unreachable);
  await assert.rejects(connectWs('nonsense'), hasCode('E_SERVER_UNREACHABLE', /nonsense/));
  await assert.rejects(connectWebSocket('nonsense'), hasCode('E_SERVER_UNREACHABLE', /nonsense/));
});

test('something else listens', async (t) => {
  const server = createServer((_, response) => response.writeHead(404).end('no')).listen(0);
  t.after(() => server.close());
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await assert.rejects(connectWs(url), hasCode('E_SERVER_UNREACHABLE', /HTTP 404/));
});

test('something listens and does not answer', async (t) => {
  const server = createServer()
    .on('upgrade', () => {})
    .listen(0);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const options = { connectTimeoutMs: 50 };
  await assert.rejects(connectWs(url, options), hasCode('E_SERVER_UNREACHABLE'));
  await assert.rejects(connectWebSocket(url, options), hasCode('E_SERVER_UNREACHABLE'));
});

test('the address is taken', async (t) => {
  const { port } = await listen(t);
  await assert.rejects(
    serveWs({ port }, () => {}),
    hasCode('E_LISTEN', /in use/),
  );
});

test('a wrong or missing token is refused before any frame', async (t) => {
  const refused: string[] = [];
  const server = await listen(t, { token: 'right', onRefused: ({ code }) => refused.push(code) });
  for (const token of [undefined, '', 'wrong', 'right 1', 'righ']) {
    await assert.rejects(connectWs(server.url, { token }), hasCode('E_UNAUTHORIZED', /token/));
  }
  await assert.rejects(
    connectWebSocket(server.url, { token: 'wrong' }),
    hasCode('E_SERVER_UNREACHABLE', /token/),
  );
  // The platform's client may try a 401 twice.
  assert.ok(refused.length >= 6);
  assert.deepEqual(new Set(refused), new Set(['E_UNAUTHORIZED']));
  await (await connectWs(server.url, { token: 'right' })).close();
});

test('a client of another version is told both versions, in a close that browsers can read', async (t) => {
  const refused: string[] = [];
  const server = await listen(t, { onRefused: ({ message }) => refused.push(message) });
  const client = new WebSocket(server.url, ['mobillm.v9']);
  const [code, reason] = await new Promise<[number, string]>((resolve) => {
    client.on('close', (code, reason) => resolve([code, reason.toString()]));
  });
  assert.equal(code, 4001);
  assert.match(reason, /mobillm\.v9.*mobillm\.v3/);
  assert.match(refused[0] as string, /mobillm\.v9.*mobillm\.v3/);
  const stranger = new WebSocket(server.url);
  const status = await new Promise((resolve) => {
    stranger.on('error', () => {});
    stranger.on('unexpected-response', (request, response) => {
      request.destroy();
      resolve(response.statusCode);
    });
  });
  assert.equal(status, 426);
});

test('a server of another version, or of none', async (t) => {
  const url = await otherServer(t, false);
  await assert.rejects(connectWs(url), hasCode('E_PROTOCOL_VERSION', /mobillm\.v3/));
  const other = await otherServer(t, 'mobillm.v9');
  await assert.rejects(connectWs(other), hasCode('E_PROTOCOL_VERSION', /mobillm\.v3/));
  // One that lets every version in and closes, as this release does.
  const polite = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  t.after(() => polite.close());
  polite.on('connection', (socket) => socket.close(4001, 'the server speaks mobillm.v9'));
  await new Promise((resolve) => polite.once('listening', resolve));
  const device = await connectWs(`ws://127.0.0.1:${(polite.address() as AddressInfo).port}`);
  await assert.rejects(device.receive(), hasCode('E_PROTOCOL_VERSION', /mobillm\.v9/));
});

test('more than the socket accepts', async (t) => {
  const server = await listen(t, { maxPayload: 1000 });
  const device = await connectWs(server.url);
  const peer = await server.next();
  await device.send(HELLO);
  await peer.receive();
  await peer.send(WELCOME);
  await device.receive();
  await device.send({ ...JOB, training: { ...JOB.training, note: 'x'.repeat(2000) } });
  assert.equal((await device.closed)?.code, 'E_FRAME_SIZE');
  assert.equal((await peer.closed)?.code, 'E_CLOSED');
});

test('text and rubbish from a client are faults with a code', async (t) => {
  const server = await listen(t);
  for (const rubbish of ['GET / HTTP/1.1 and so on', Buffer.alloc(64, 7)]) {
    const client = new WebSocket(server.url, ['mobillm.v3']);
    client.on('open', () => client.send(rubbish));
    assert.equal((await (await server.next()).closed)?.code, 'E_FRAME_MAGIC');
    await new Promise((resolve) => client.on('close', resolve));
  }
});

test('a handler that throws fails its connection and no other', async (t) => {
  const server = await serveWs({}, () => {
    throw new Error('out of luck');
  });
  t.after(() => server.close());
  const device = await connectWs(server.url);
  await assert.rejects(device.receive(), hasCode('E_SERVER', /out of luck/));
  const again = await connectWs(server.url);
  await assert.rejects(again.receive(), hasCode('E_SERVER'));
});

test('a server that stops tells its devices; a device that dies is noticed', async (t) => {
  const server = await listen(t);
  const device = await connectWs(server.url);
  const client = new WebSocket(server.url, ['mobillm.v3']);
  await new Promise((resolve) => client.on('open', resolve));
  await server.next();
  const dying = await server.next();
  client.terminate();
  assert.equal((await dying.closed)?.code, 'E_CLOSED');
  await server.close();
  await assert.rejects(device.receive(), hasCode('E_CLOSED', /1001, the server stops/));
});
