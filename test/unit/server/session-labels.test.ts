import assert from 'node:assert/strict';
import { test } from 'node:test';
import { labelLoss } from '../../../src/device/label-loss.ts';
import { openLmHead } from '../../../src/model/index.ts';
import { type ReceivedBatch, runSession, SideTrainer } from '../../../src/server/index.ts';
import { cpuBackend } from '../../../src/tensor/index.ts';
import {
  Connection,
  encodeHalves,
  FileReceiver,
  type GradsMessage,
  type JobMessage,
  type Message,
  memoryChannelPair,
  type StatesMessage,
} from '../../../src/transport/index.ts';
import { LM_SHAPE, LM_VOCAB, lmHeadBytes, lmTask } from '../../support/lm-training.ts';
import { HELLO } from '../../support/transport.ts';

/* A server without labels, and devices that a test plays, good ones and bad ones. */

const task = lmTask({ epochs: 2 });
const batches = [...task.train, ...task.valid];
const { codec, rows, options } = task.job;
const LAYERS = [1, 2];

const job: JobMessage = {
  type: 'job',
  id: '5f'.repeat(16),
  resume: false,
  saveEvery: 100,
  task: { kind: 'lm', vocab: LM_VOCAB, maxTokens: 6 },
  taps: { layers: LAYERS, kinds: ['token'], width: LM_SHAPE.width },
  codec: {
    bits: codec.bits,
    groupSize: 64,
    mean: encodeHalves(codec.calibration.mean),
    scale: encodeHalves(codec.calibration.scale),
  },
  training: { ...options, baselines: [] },
  rows,
};

async function connect(
  backend: 'cpu' | 'gpu:webasm' = 'cpu',
): Promise<{ device: Connection; session: Promise<void>; said: string[] }> {
  const [a, b] = memoryChannelPair();
  const device = new Connection(a, { role: 'device' });
  const said: string[] = [];
  const log = (_: object, message: string) => {
    said.push(message);
  };
  const session = runSession(new Connection(b, { role: 'server' }), {
    software: 'test',
    backend: { name: backend },
    cacheLimit: 1e6,
    creditWindow: 1e6,
    log: { info: log, warn: log },
  });
  await device.send(HELLO);
  assert.equal((await device.receive())?.type, 'welcome');
  return { device, session, said };
}

async function begin(device: Connection, message = job): Promise<void> {
  await device.send(message);
  const accepted = await device.receive();
  assert.ok(accepted?.type === 'accept');
  assert.equal(accepted.sendHead, undefined, 'the head is not asked for');
}

async function sendBatch(
  device: Connection,
  batch: number,
  { split, rows: ids, counts = [], taps }: ReceivedBatch,
  labels: readonly number[] = [],
): Promise<void> {
  const rowCount = counts.reduce((sum, count) => sum + count, 0);
  for (const [i, data] of taps.entries()) {
    await device.send({
      ...{ type: 'taps', batch, split, layer: LAYERS[i], kindStart: 0, kindCount: 1 },
      ...{ rowStart: 0, rowCount, width: LM_SHAPE.width, bits: codec.bits, data },
    } as Message);
  }
  const sent = { batch, split, rows: [...ids], counts: [...counts], labels: [...labels] };
  await device.send({ type: 'batch', ...sent });
}

const own = cpuBackend();
const head = openLmHead(lmHeadBytes(), { vocab: LM_VOCAB, width: LM_SHAPE.width }, own);

/** What an honest device answers. */
function answer(message: StatesMessage): GradsMessage {
  const { part, split, runs, width } = message;
  const labels = runs.flatMap(({ row, first, count }) => {
    const batch = batches.find((one) => one.split === split && one.rows.includes(row));
    const { rows: ids = [], counts = [], labels: all = [] } = batch ?? {};
    const before = counts.slice(0, ids.indexOf(row)).reduce((sum, one) => sum + one, 0);
    return all.slice(before + first, before + first + count);
  });
  const { labelSmoothing } = options;
  const computed = labelLoss(head, labels, { ...message, labelSmoothing }, own);
  return { type: 'grads', part, width, ...computed };
}

async function nextStates(device: Connection): Promise<StatesMessage> {
  for await (const message of device) if (message.type === 'states') return message;
  throw new Error('no states came');
}

test('a job runs to the adapter of a server with the labels; the session goes on behind it', async () => {
  const local = new SideTrainer(task.job, cpuBackend());
  for (const batch of batches) local.receive(batch);
  local.useHead(lmHeadBytes());
  const [expected] = [...local.run()].flatMap((event) =>
    event.kind === 'trained' ? [event.trained.weights] : [],
  );
  const { device, session, said } = await connect();
  // The second job shows that nothing of the first is left over.
  for (const round of [1, 2]) {
    await begin(device);
    const sending = (async () => {
      for (const [i, batch] of batches.entries()) await sendBatch(device, i, batch);
      await device.send({ type: 'finish', rows });
    })();
    const receiver = new FileReceiver();
    let weights: Uint8Array | undefined;
    let result: unknown;
    for await (const message of device) {
      if (message.type === 'states') await device.send(answer(message));
      if (message.type === 'result') result = message.metrics.backend;
      if (message.type === 'file') weights = (await receiver.add(message))?.bytes;
      if (message.type === 'done') break;
    }
    await sending;
    assert.deepEqual(weights, expected, `round ${round}`);
    assert.equal(result, 'cpu (reference)');
  }
  await device.close();
  await session;
  assert.equal(said.at(-1), 'device left');
});

test('a server on gpu.js, whose plans take labels, trains such a job on wasm, and says so', async () => {
  const { device, session } = await connect('gpu:webasm');
  await begin(device);
  for (const [i, batch] of batches.entries()) await sendBatch(device, i, batch);
  await device.send({ type: 'finish', rows });
  let result: unknown;
  for await (const message of device) {
    if (message.type === 'states') await device.send(answer(message));
    if (message.type === 'result') result = message.metrics.backend;
    if (message.type === 'done') break;
  }
  assert.match(String(result), /^wasm .* instead of .*webasm.*: plans of gpu\.js take the labels/);
  await device.close();
  await session;
});

const refused: Record<string, { says: RegExp; play(device: Connection): Promise<unknown> }> = {
  'a gradient that nobody asked for': {
    says: /grads: part 0 was not asked for/,
    async play(device) {
      await begin(device);
      const gradient = new Float32Array(0);
      await device.send({ type: 'grads', part: 0, loss: 1, width: LM_SHAPE.width, gradient });
    },
  },
  'a gradient of another part': {
    says: /grads: of part 1, 0 is due/,
    async play(device) {
      await begin(device);
      await sendBatch(device, 0, batches[0]);
      await device.send({ ...answer(await nextStates(device)), part: 1 });
    },
  },
  'a gradient of fewer tokens': {
    says: /grads: part 0: \d+ numbers of width 16, \d+ of 16 are due/,
    async play(device) {
      await begin(device);
      await sendBatch(device, 0, batches[0]);
      const { gradient, ...rest } = answer(await nextStates(device));
      await device.send({ ...rest, gradient: gradient.slice(LM_SHAPE.width) });
    },
  },
  'labels that were to stay on the device': {
    says: /batch 0: \d+ labels where 0 were due/,
    async play(device) {
      await begin(device);
      await sendBatch(device, 0, batches[0], batches[0].labels);
    },
  },
  'a last training on validation rows': {
    says: /refit trains on validation rows, whose labels stay on the device/,
    play: (device) => device.send({ ...job, training: { ...job.training, refit: true } }),
  },
  'rows too long to be told apart': {
    says: /rows of 2000000 tokens/,
    play: (device) =>
      device.send({ ...job, task: { kind: 'lm', vocab: LM_VOCAB, maxTokens: 2_000_000 } }),
  },
};

for (const [what, { says, play }] of Object.entries(refused)) {
  test(`the server refuses ${what}`, async () => {
    const { device, session } = await connect();
    await play(device);
    const end = await device.closed;
    assert.equal(end?.code, 'E_JOB', end?.message);
    assert.match(end.message, says);
    await session;
  });
}

test('a device that leaves while an answer is due ends its job, and nothing else', async () => {
  const { device, session, said } = await connect();
  await begin(device);
  const states = nextStates(device);
  for (const [i, batch] of batches.entries()) await sendBatch(device, i, batch);
  await device.send({ type: 'finish', rows });
  await states;
  await device.close();
  await session;
  assert.ok(said.includes('job abandoned'), said.join(', '));
});
