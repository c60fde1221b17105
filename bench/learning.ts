// npm run learning -- [--data wordnet10|sentiment|DIR] [--seeds 0,1,2] [--baselines mix,ladder]
// [train's flags]: accuracy over seeds.
// One process, the same engine and trainer as `mobillm train`; the backbone runs once a row and prefix,
// and each seed then splits, calibrates, encodes and trains anew. With --taps-folder the taps of all
// layers are kept there, so that later runs with other layers, bits, sides or seeds need no backbone.
import { basename } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { demoTemplates } from '../src/cli/commands/demo.ts';
import { type DemoTaskName, demoData } from '../src/cli/demo-data.ts';
import { majorityAccuracy } from '../src/cli/evaluate.ts';
import {
  addModelFlags,
  addTapFlags,
  defaultTemplate,
  integer,
  type ModelFlags,
  type TapFlags,
  threadsOf,
} from '../src/cli/flags.ts';
import { resolveModel } from '../src/cli/load-device.ts';
import { loadEngine } from '../src/cli/load-engine.ts';
import { familyOfPath } from '../src/cli/model-files.ts';
import {
  addTrainingFlags,
  type TrainingFlags,
  trainingOptions,
} from '../src/cli/training-flags.ts';
import { chooseShots, epochBatches, loadDataset, type Sample } from '../src/data/index.ts';
import {
  calibrate,
  type DeviceEngine,
  encodePooled,
  shapeOfPlan,
  shotsPrefix,
  type TapKind,
  type TapPlan,
} from '../src/device/index.ts';
import {
  createSideModel,
  decodeSample,
  layersToSamples,
  loadAdapterWeights,
  SIDE_NAMES,
  type SideName,
  tapTensors,
} from '../src/model/index.ts';
import { memoryByteSource } from '../src/platform/byte-source.ts';
import { readText } from '../src/platform/node.ts';
import type { ActivationBits } from '../src/quant/index.ts';
import { SideTrainer, type Split, type TrainedModel } from '../src/server/index.ts';
import { argmax, type Backend, scope } from '../src/tensor/index.ts';
import { chooseRows } from './choose-rows.ts';
import { hashOf, type TapSource, TapStore } from './tap-store.ts';

interface Flags extends ModelFlags, TapFlags, TrainingFlags {
  readonly data: string;
  readonly trainRows?: number;
  readonly testRows?: number;
  readonly seeds: string;
  readonly shotsSeed?: number;
  readonly baselines: SideName[];
  readonly tapsFolder?: string;
  readonly randomBackbone?: boolean;
}

const BATCH = 32;

/** Kinds that are kept in files, beside those that are asked for. */
const KEPT_KINDS: readonly TapKind[] = ['last', 'mean', 'template'];

/** Samples' taps to per-layer batches, as the engine pools them. */
function layersOf(samples: readonly Sample[], store: TapStore, layers: number): Float32Array[] {
  const rows = samples.map((sample) => store.get(sample));
  const block = rows[0].length / layers;
  return Array.from({ length: layers }, (_, layer) => {
    const out = new Float32Array(rows.length * block);
    rows.forEach((row, b) => {
      out.set(row.subarray(layer * block, (layer + 1) * block), b * block);
    });
    return out;
  });
}

async function runSeed(
  flags: Flags & { readonly template: string },
  engine: DeviceEngine,
  folder: string,
  seed: number,
  storeOf: (plan: TapPlan) => TapStore,
): Promise<Map<string, { valid: number; test: number }>> {
  const read = async (path: string) => {
    const source = await readText(path);
    const part = basename(path).split('.')[0];
    const { trainRows, testRows } = flags;
    // Of a file of validation rows as many as are worth their time beside so few training rows.
    const validRows = trainRows && Math.ceil(trainRows / 4);
    const count = part === 'train' ? trainRows : part === 'test' ? testRows : validRows;
    return count === undefined ? source : chooseRows(source, count, part === 'train');
  };
  const split = (by: number) => loadDataset(folder, { readText: read, seed: by });
  const loaded = await split(seed);
  const shotsSeed = flags.shotsSeed ?? seed;
  const pool = shotsSeed === seed ? loaded : await split(shotsSeed);
  const shots = chooseShots(pool.train, flags.prefixShots, shotsSeed);
  // By what they say: another seed's split has objects of its own, and may validate with them.
  const shown = new Set(shots.map(hashOf));
  const without = (rows: readonly Sample[]) => rows.filter((row) => !shown.has(hashOf(row)));
  const data = { labels: loaded.labels, valid: without(loaded.valid), test: loaded.test ?? [] };
  const train = without(loaded.train);
  const plan: TapPlan = {
    template: flags.template,
    labels: data.labels,
    prefix: shotsPrefix(flags.template, data.labels, shots),
    maxSeqLength: flags.maxSeqLength,
    layers: flags.layers(engine.backbone.config.numHiddenLayers),
    kinds: flags.taps,
    bits: Number(flags.activationBits) as ActivationBits,
  };
  const store = storeOf(plan);
  store.add(engine, [...train, ...data.valid, ...data.test]);

  const shape = shapeOfPlan(plan, engine.backbone.config.hiddenSize);
  const options = trainingOptions({ ...flags, seed }, flags.baselines, loaded.validFromTrain);
  const { batchSize } = options;
  const order = epochBatches({ count: train.length, batchSize, seed, epoch: 0 });
  const first = order[0].map((i) => train[i]);
  const calibration = calibrate(layersOf(first, store, shape.layers), shape);
  const codec = { bits: plan.bits, calibration };
  const { backend } = engine.backbone;
  const encode = (samples: readonly Sample[]) =>
    encodePooled(layersOf(samples, store, shape.layers), shape, codec, backend);
  const rows = { train: train.length, valid: data.valid.length };
  const trainer = new SideTrainer({ shape, codec, rows, options, cacheLimit: 1e9 }, backend);
  const send = (split: Split, ids: number[], from: readonly Sample[]) =>
    trainer.receive({
      split,
      rows: ids,
      labels: ids.map((i) => data.labels.indexOf(from[i].label)),
      taps: encode(ids.map((i) => from[i])),
    });
  for (const ids of order) send('train', ids, train);
  for (let i = 0; i < data.valid.length; i += BATCH) {
    send('valid', [...data.valid.keys()].slice(i, i + BATCH), data.valid);
  }
  const results = new Map<string, { valid: number; test: number }>();
  for (const event of trainer.run()) {
    if (event.kind !== 'trained') continue;
    const { name, validAccuracy } = event.trained;
    const test = await testAccuracy(event.trained);
    results.set(name, { valid: validAccuracy ?? 0, test });
  }
  trainer.close();
  const indices = (samples: readonly Sample[]) => samples.map((s) => data.labels.indexOf(s.label));
  const majority = majorityAccuracy(indices(train), indices(data.test), data.labels.length);
  results.set('majority', { valid: Number.NaN, test: majority });
  return results;

  async function testAccuracy(trained: TrainedModel): Promise<number> {
    const model = createSideModel(trained.name, shape, options);
    const adapter = await loadAdapterWeights(
      memoryByteSource(trained.weights),
      model,
      backend as Backend,
    );
    let correct = 0;
    for (let i = 0; i < data.test.length; i += BATCH) {
      const part = data.test.slice(i, i + BATCH);
      const samples = layersToSamples(encode(part), part.length).map((bytes) =>
        decodeSample(bytes, shape, codec),
      );
      const predicted = scope(() => {
        const taps = tapTensors(samples, shape, adapter.standardizer, backend);
        return argmax(model.logits(adapter.params, taps), 1).toArray();
      });
      part.forEach((sample, b) => {
        if (data.labels[predicted[b]] === sample.label) correct++;
      });
    }
    return correct / data.test.length;
  }
}

function sideNames(text: string): SideName[] {
  const names = text.split(',').filter((name) => name !== '') as SideName[];
  const unknown = names.find((name) => !SIDE_NAMES.includes(name));
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(`${unknown} is none of ${SIDE_NAMES.join(', ')}.`);
}

const command = new Command('learning')
  .description('accuracy of the side network and its baselines over seeds, on a demo task')
  .option('--data <task>', 'wordnet10, sentiment, or a folder of jsonl files', 'wordnet10')
  .option('--train-rows <n>', 'train on so many rows, classes in turn, by MD5', integer(1))
  .option('--test-rows <n>', 'test on so many rows, by MD5', integer(1))
  .option('--seeds <list>', 'seeds, with commas between', '0,1,2')
  .option(
    '--shots-seed <n>',
    'seed that chooses the rows of --prefix-shots, one prefix for all seeds (default: each its own)',
    integer(0),
  )
  .option(
    '--baselines <list>',
    `trained on the same rows, with commas between, out of ${SIDE_NAMES.join(', ')}; none for ''`,
    sideNames,
    ['probe', 'mix'] as SideName[],
  )
  .option('--taps-folder <folder>', 'keep the taps of all layers there, and read what is there')
  .option('--random-backbone', 'control: random weights instead of the pretrained ones');
const flags = addTrainingFlags(addTapFlags(addModelFlags(command)))
  .parse()
  .opts<Flags>();
const demo = flags.data in demoTemplates ? (flags.data as DemoTaskName) : undefined;
const folder = demo ? await demoData(demo) : flags.data;
const path = await resolveModel(flags.model, { quiet: false });
const family = await familyOfPath(path);
const pairs = demo === undefined && (await loadDataset(folder, { readText })).pairs;
const worded = demo && family !== 'encoder' ? demoTemplates[demo] : defaultTemplate(family, pairs);
const chosen = { ...flags, template: flags.template ?? worded };
const { engine, fingerprint } = await loadEngine({
  path,
  threads: threadsOf(flags.threads ?? 1),
  precision: flags.precision,
  backend: flags.deviceBackend,
  randomSeed: flags.randomBackbone ? 0 : undefined,
});
console.log(
  `${flags.data}, ${flags.model}${flags.randomBackbone ? ' (random weights)' : ''}; ${engine.backbone.kernels}`,
);
const source: TapSource = {
  model: fingerprint,
  precision: flags.precision,
  layerCount: engine.backbone.config.numHiddenLayers,
  width: engine.backbone.config.hiddenSize,
};
const stores = new Map<string, TapStore>();
const storeOf = (plan: TapPlan) => {
  const store = stores.get(plan.prefix) ?? newStore(plan);
  stores.set(plan.prefix, store);
  return store;
};
const newStore = (plan: TapPlan) => {
  const kept = flags.tapsFolder && plan.template.split(/\{\w+\}/).at(-1) ? KEPT_KINDS : [];
  const kinds = new Set([...kept, ...(plan.kinds as TapKind[])]);
  return new TapStore(source, plan, [...kinds], flags.tapsFolder);
};
const all = new Map<string, { valid: number; test: number }[]>();
for (const seed of flags.seeds.split(',').map(Number)) {
  const results = await runSeed(chosen, engine, folder, seed, storeOf);
  for (const [name, result] of results) all.set(name, [...(all.get(name) ?? []), result]);
  console.log(
    `seed ${seed}: ${[...results].map(([name, { valid, test }]) => `${name} ${test.toFixed(3)} (validation ${valid.toFixed(3)})`).join(', ')}`,
  );
}
const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
for (const [name, results] of all) {
  const tests = results.map(({ test }) => test);
  const deviation = Math.sqrt(mean(tests.map((x) => (x - mean(tests)) ** 2)));
  console.log(
    `${name.padEnd(10)} test ${mean(tests).toFixed(4)} +- ${deviation.toFixed(4)}  validation ${mean(results.map(({ valid }) => valid)).toFixed(4)}`,
  );
}
