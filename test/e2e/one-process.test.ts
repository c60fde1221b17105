import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Command } from 'commander';
import { addTapFlags, type TapFlags } from '../../src/cli/flags.ts';
import { loadEngine } from '../../src/cli/load-engine.ts';
import {
  addTrainingFlags,
  type TrainingFlags,
  trainingOptions,
} from '../../src/cli/training-flags.ts';
import { epochBatches, loadDataset, type Sample } from '../../src/data/index.ts';
import {
  type DeviceEngine,
  greet,
  type LabelledRow,
  type OnLayer,
  runJob,
  shapeOfPlan,
  type TapPlan,
} from '../../src/device/index.ts';
import { openSafetensors } from '../../src/model/index.ts';
import { memoryByteSource } from '../../src/platform/byte-source.ts';
import { readText } from '../../src/platform/node.ts';
import type { ActivationBits } from '../../src/quant/index.ts';
import { runSession, SideTrainer } from '../../src/server/index.ts';
import { wasmBackend } from '../../src/tensor/index.ts';
import { clockMs, Tracer } from '../../src/trace/index.ts';
import { Connection, memoryChannelPair } from '../../src/transport/index.ts';
import { runCli, startServer, workspace } from '../support/cli.ts';
import { assertClose } from '../support/close.ts';

/*
 * Two processes equal one. The same job three ways: over a socket between two processes; with device
 * and server in this process over a channel in memory; and with neither, the engine's activations
 * handed to the trainer. The sequence of steps depends on the seed alone, so the adapters are equal.
 */

/**
 * Share of the largest weight by which adapters may differ: none. Both sides run the same kernels
 * in the same order; a processor on which they pick others would need 1e-5.
 */
const TOLERANCE = 0;

/** Flags of the job, as `mobillm train` takes them; the other ways read them with its parser. */
const FLAGS = [
  ...['--template', '{text}:', '--max-seq-length', '64', '--layers', 'all', '--batch-size', '8'],
  ...['--epochs', '3', '--learning-rate', '2e-3', '--rank', '8', '--seed', '5'],
];
const flags = addTrainingFlags(addTapFlags(new Command()))
  .parse(FLAGS, { from: 'user' })
  .opts<TapFlags & TrainingFlags>();
const training = trainingOptions(flags, ['mix'], true);

const space = workspace();
after(() => space.remove());

interface Job {
  readonly engine: DeviceEngine;
  readonly plan: TapPlan;
  readonly train: readonly LabelledRow[];
  readonly valid: readonly LabelledRow[];
  readonly fingerprint: string;
}

/** What a device makes of the flags of the socket run below. */
async function prepare(): Promise<Job> {
  const data = await loadDataset(space.tiny, { readText, seed: flags.seed });
  const { engine, config, fingerprint } = await loadEngine({
    path: space.model,
    precision: 'int8',
    backend: 'wasm',
  });
  const plan: TapPlan = {
    template: flags.template as string,
    labels: data.labels,
    prefix: '',
    maxSeqLength: flags.maxSeqLength,
    layers: flags.layers(config.numHiddenLayers),
    kinds: flags.taps,
    bits: Number(flags.activationBits) as ActivationBits,
  };
  engine.usePlan(plan);
  const labelled = (samples: readonly Sample[]) =>
    samples.map((sample, id) => ({ id, sample, label: data.labels.indexOf(sample.label) }));
  const rows = labelled(data.train);
  const { batchSize, seed } = training;
  const order = epochBatches({ count: rows.length, batchSize, seed, epoch: 0 });
  const train = order.flat().map((i) => rows[i]);
  return { engine, plan, train, valid: labelled(data.valid), fingerprint };
}

/** Adapter weights by name, from two processes and a socket. */
async function overSocket(): Promise<Map<string, Uint8Array>> {
  const server = await startServer();
  const folder = space.path('adapter');
  const { code, stderr } = await runCli([
    ...['train', '--server', server.url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', folder, '--json'],
    ...FLAGS,
  ]);
  await server.stop();
  assert.equal(code, 0, stderr);
  const read = (...parts: string[]) =>
    new Uint8Array(readFileSync(join(folder, ...parts, 'adapter_model.safetensors')));
  return new Map([
    ['parallel', read()],
    ['mix', read('baselines', 'mix')],
  ]);
}

/** The same with both roles in this process, over the protocol in memory. */
async function overMemory(job: Job): Promise<Map<string, Uint8Array>> {
  const { engine, plan, train, valid, fingerprint } = job;
  const [deviceEnd, serverEnd] = memoryChannelPair();
  const device = new Connection(deviceEnd, { role: 'device' });
  const session = runSession(new Connection(serverEnd, { role: 'server' }), {
    software: 'test',
    backend: { name: 'wasm' },
    cacheLimit: 1e6,
    // So small that a layer of a batch takes two frames.
    creditWindow: 800,
    log: { info: () => {}, warn: (_, message) => assert.fail(message) },
  });
  const { config } = engine.backbone;
  await greet(device, {
    software: 'test',
    fingerprint,
    architecture: config.modelType,
    hiddenSize: config.hiddenSize,
    layers: config.numHiddenLayers,
  });
  const timed = {
    calibrate: (samples: readonly Sample[]) => engine.calibrate(samples),
    useCalibration: engine.useCalibration.bind(engine),
    encodeLayers(samples: readonly Sample[], onLayer: OnLayer) {
      const startMs = clockMs();
      return { ...engine.encodeLayers(samples, onLayer), startMs, endMs: clockMs() };
    },
  };
  const width = config.hiddenSize;
  const spec = { plan, width, train, valid, training };
  const { files } = await runJob(device, timed, spec, new Tracer('device'));
  await device.close();
  await session;
  return new Map([...files].map(([name, bytes]) => [name.replace('.safetensors', ''), bytes]));
}

/** The same without a protocol: the trainer is a loop over the engine's batches. */
function direct(job: Job): Map<string, Uint8Array> {
  const { engine, plan } = job;
  const calibration = engine.calibrate(
    job.train.slice(0, training.batchSize).map((row) => row.sample),
  );
  const trainer = new SideTrainer(
    {
      shape: shapeOfPlan(plan, engine.backbone.config.hiddenSize),
      codec: { bits: plan.bits, calibration },
      rows: { train: job.train.length, valid: job.valid.length },
      options: training,
      cacheLimit: 1e6,
    },
    wasmBackend(),
  );
  for (const split of ['train', 'valid'] as const) {
    for (let start = 0; start < job[split].length; start += training.batchSize) {
      const rows = job[split].slice(start, start + training.batchSize);
      const { taps } = engine.encode(rows.map((row) => row.sample));
      const labels = rows.map((row) => row.label);
      trainer.receive({ split, rows: rows.map((row) => row.id), labels, taps });
    }
  }
  const trained = new Map<string, Uint8Array>();
  for (const event of trainer.run()) {
    assert.notEqual(event.kind, 'wait', 'everything is there');
    if (event.kind === 'trained') trained.set(event.trained.name, event.trained.weights);
  }
  trainer.close();
  return trained;
}

async function assertSame(actual: Uint8Array, expected: Uint8Array, what: string): Promise<void> {
  const [a, b] = await Promise.all(
    [actual, expected].map((bytes) => openSafetensors(memoryByteSource(bytes, what))),
  );
  assert.deepEqual([...a.tensors.keys()], [...b.tensors.keys()]);
  for (const name of b.tensors.keys()) {
    const [values, wanted] = await Promise.all(
      [a, b].map(async (file) => new Float32Array((await file.readTensor(name)).slice().buffer)),
    );
    assert.ok(
      wanted.some((value) => value !== 0),
      `${what}: ${name} never moved from 0`,
    );
    assertClose(values, wanted, TOLERANCE, `${what}: ${name}`);
  }
}

test('two processes, one process with the protocol, one without: the same adapters', async () => {
  const job = await prepare();
  const socket = overSocket();
  const reference = direct(job);
  const memory = await overMemory(job);
  const ways = { socket: await socket, memory };
  assert.deepEqual([...reference.keys()], ['parallel', 'mix']);
  for (const [way, adapters] of Object.entries(ways)) {
    assert.deepEqual([...adapters.keys()], ['parallel', 'mix']);
    for (const [name, weights] of reference) {
      await assertSame(adapters.get(name) as Uint8Array, weights, `${name} over ${way}`);
    }
  }
  job.engine.dispose();
});
