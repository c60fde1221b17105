import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import {
  type FileMessage,
  FileReceiver,
  sendFile,
  sha256Hex,
} from '../../../src/transport/index.ts';
import { connectionPair, hasCode, toRunning } from '../../support/transport.ts';

const BYTES = Uint8Array.from({ length: 10_000 }, (_, i) => (i * 31) & 255);
const piece = (field: Partial<FileMessage> = {}): FileMessage => ({
  type: 'file',
  name: 'a',
  offset: 0,
  total: 4,
  data: new Uint8Array(2),
  ...field,
});

test('SHA-256 is what node:crypto says', async () => {
  assert.equal(await sha256Hex(BYTES), createHash('sha256').update(BYTES).digest('hex'));
});

test('files arrive whole, the empty one too, under the device’s credit', async () => {
  const { device, server } = connectionPair();
  await toRunning(device, server);
  await device.send({ type: 'finish', rows: { train: 0, valid: 0 } });
  await server.receive();
  const sending = (async () => {
    await server.send({ type: 'result', metrics: {} });
    // The window of 4,096 bytes takes frames of 2,048: the pieces are cut to fit.
    await sendFile(server, 'adapter_model.safetensors', BYTES);
    await sendFile(server, 'README.md', new Uint8Array(0));
    await server.send({ type: 'done' });
  })();
  const receiver = new FileReceiver();
  const files = new Map<string, Uint8Array>();
  for await (const message of device) {
    if (message.type === 'done') break;
    const file = message.type === 'file' ? await receiver.add(message) : undefined;
    if (file) files.set(file.name, file.bytes);
  }
  await sending;
  assert.deepEqual([...files.keys()], ['adapter_model.safetensors', 'README.md']);
  assert.deepEqual(files.get('adapter_model.safetensors'), BYTES);
  assert.equal(files.get('README.md')?.length, 0);
});

test('pieces out of order, of another file, or of too large a file', async () => {
  const order = hasCode('E_FILE_ORDER');
  await assert.rejects(new FileReceiver().add(piece({ offset: 1 })), order);
  await assert.rejects(new FileReceiver(3).add(piece()), order);
  await assert.rejects(new FileReceiver().add(piece({ total: 2 ** 52 })), order);
  for (const wrong of [{ name: 'b', offset: 2 }, { offset: 0 }, { offset: 2, total: 5 }]) {
    const receiver = new FileReceiver();
    await receiver.add(piece());
    await assert.rejects(receiver.add(piece(wrong)), order);
  }
});

test('a wrong hash', async () => {
  const receiver = new FileReceiver();
  const whole = piece({ total: 2, sha256: '00'.repeat(32) });
  await assert.rejects(receiver.add(whole), hasCode('E_FILE_HASH'));
});
