import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  JobStore,
  type ReceivedBatch,
  runSession,
  SideTrainer,
} from '../../../src/server/index.ts';
import { cpuBackend } from '../../../src/tensor/index.ts';
import {
  type AcceptMessage,
  Connection,
  encodeHalves,
  FileReceiver,
  type JobMessage,
  type Message,
  memoryChannelPair,
} from '../../../src/transport/index.ts';
import { tinyTask } from '../../support/training.ts';
import { HELLO, hasCode } from '../../support/transport.ts';

/* A server that keeps jobs, and devices that a test plays, in one process. */

const folder = mkdtempSync(join(tmpdir(), 'mobillm-sessions-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const task = tinyTask({ epochs: 2, baselines: ['probe'] });
const batches = [...task.train, ...task.valid];
const LAYERS = [1, 2];
const KINDS = ['last', 'mean'];

const { shape, codec, rows, options } = task.job;

const job: JobMessage = {
  type: 'job',
  id: '5e'.repeat(16),
  resume: false,
  saveEvery: 2,
  task: { kind: 'classification', classes: shape.classes, labels: ['a', 'b', 'c'] },
  taps: { layers: LAYERS, kinds: KINDS, width: shape.width },
  codec: {
    bits: codec.bits,
    groupSize: 64,
    mean: encodeHalves(codec.calibration.mean),
    scale: encodeHalves(codec.calibration.scale),
  },
  training: { ...options, baselines: [...options.baselines] },
  rows,
};

/** A device that has greeted, and its session's end. */
async function connect(store?: JobStore): Promise<{ device: Connection; session: Promise<void> }> {
  const [a, b] = memoryChannelPair();
  const device = new Connection(a, { role: 'device' });
  const session = runSession(new Connection(b, { role: 'server' }), {
    software: 'test',
    backend: { name: 'cpu', required: true },
    cacheLimit: 1e6,
    creditWindow: 1e6,
    store,
    log: { info: () => {}, warn: () => {} },
  });
  await device.send(HELLO);
  assert.equal((await device.receive())?.type, 'welcome');
  return { device, session };
}

async function begin(device: Connection, resume: boolean): Promise<AcceptMessage> {
  await device.send({ ...job, resume });
  const message = await device.receive();
  assert.ok(message?.type === 'accept');
  return message;
}

async function sendBatch(device: Connection, batch: number, from: ReceivedBatch): Promise<void> {
  const { split, rows: ids, labels, taps } = from;
  for (const [i, data] of taps.entries()) {
    await device.send({
      ...{ type: 'taps', batch, split, layer: LAYERS[i], kindStart: 0, kindCount: KINDS.length },
      ...{ rowStart: 0, rowCount: ids.length, width: shape.width, bits: codec.bits, data },
    } as Message);
  }
  await device.send({ type: 'batch', batch, split, rows: [...ids], labels: [...labels] });
}

/** Reads until DONE: the files by name, and the steps that were made. */
async function outcome(device: Connection) {
  const files = new Map<string, Uint8Array>();
  const receiver = new FileReceiver();
  const steps: number[] = [];
  for await (const message of device) {
    if (message.type === 'step') steps.push(message.step);
    if (message.type === 'file') {
      const file = await receiver.add(message);
      if (file) files.set(file.name, file.bytes);
    }
    if (message.type === 'done') break;
  }
  return { files, steps };
}

/** What a trainer makes of the rows, undisturbed. */
function expected(): Map<string, Uint8Array> {
  const trainer = new SideTrainer(task.job, cpuBackend());
  for (const batch of batches) trainer.receive(batch);
  const files = new Map<string, Uint8Array>();
  for (const event of trainer.run()) {
    if (event.kind !== 'trained') continue;
    files.set(`${event.trained.name}.safetensors`, event.trained.weights);
  }
  trainer.close();
  return files;
}

test('a job goes on over another connection, which ends the one it was on', async () => {
  const store = await JobStore.open(folder, 14);
  const first = await connect(store);
  assert.deepEqual(await begin(first.device, false), {
    ...{ type: 'accept', jobId: 1, resumable: true, batches: 0, step: 0 },
  });
  await sendBatch(first.device, 0, batches[0]);
  await sendBatch(first.device, 1, batches[1]);
  for (;;) {
    const message = await first.device.receive();
    if (message?.type !== 'saved') continue;
    assert.deepEqual(message, { type: 'saved', batches: 2, step: 2 });
    break;
  }
  // The line is dead for the device; the server has not noticed yet.
  const second = await connect(store);
  const { batches: held, step } = await begin(second.device, true);
  assert.deepEqual([held, step], [2, 2]);
  assert.equal((await first.device.closed)?.code, 'E_JOB');
  await first.session;
  for (const [i, batch] of batches.entries()) {
    if (i >= held) await sendBatch(second.device, i, batch);
  }
  await second.device.send({ type: 'finish', rows });
  const { files, steps } = await outcome(second.device);
  assert.deepEqual(files, expected());
  assert.equal(steps[0], 3, 'no step is made twice');

  // The device died before it wrote its adapter: all is there, none is made again.
  await second.device.close();
  await second.session;
  const third = await connect(store);
  const { batches: all } = await begin(third.device, true);
  assert.equal(all, batches.length);
  await third.device.send({ type: 'finish', rows });
  const again = await outcome(third.device);
  assert.deepEqual(again, { files, steps: [] });
  await third.device.send({ type: 'forget', id: job.id });
  await third.device.close();
  await third.session;
  assert.deepEqual(readdirSync(folder), []);
});

test('a server that keeps no jobs says so, and knows none', async () => {
  const { device, session } = await connect();
  assert.equal((await begin(device, false)).resumable, false);
  device.fail('E_TEST', 'enough');
  await session;
  const again = await connect();
  await again.device.send({ ...job, resume: true });
  await assert.rejects(again.device.receive(), hasCode('E_JOB_UNKNOWN', /does not hold it/));
  await again.session;
});
