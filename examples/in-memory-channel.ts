// Device and server in one process, over the real protocol, on a channel in memory: a whole job from
// texts to an adapter, with every byte counted.
// npm run example -- in-memory-channel
import { DeviceEngine, greet, type LabelledRow, runJob, type TapPlan } from 'mobillm/device';
import { loadLlama, randomWeightSource, type Tokenizer } from 'mobillm/model';
import { installQuant } from 'mobillm/quant';
import { runSession, type TrainingOptions } from 'mobillm/server';
import { random, wasmBackend } from 'mobillm/tensor';
import { clockMs, Tracer } from 'mobillm/trace';
import { Connection, memoryChannelPair } from 'mobillm/transport';

const WORDS = 'sun rain snow wind bread milk cheese rice train ship road bridge'.split(' ');
const LABELS = ['weather', 'food', 'travel'];

/** A token a word; real models bring their own: `openGgufModel(file).tokenizer`. */
const tokenizer: Tokenizer = {
  ...{ vocabSize: WORDS.length, eosTokenId: undefined, bosTokenId: undefined },
  encode: (text) => text.split(' ').map((word) => WORDS.indexOf(word)),
  decode: (ids) => Array.from(ids, (id) => WORDS[id]).join(' '),
  decodeStream: () => ({ push: (id) => `${WORDS[id]} `, flush: () => '' }),
  token: (id) => WORDS[id],
};

const rng = random(3);
/** Three words, two of them of the class. */
const rows = (count: number): LabelledRow[] =>
  Array.from({ length: count }, (_, id) => {
    const label = id % LABELS.length;
    const of = (topic: number) => WORDS[topic * 4 + rng.int(4)];
    const text = `${of(label)} ${of(rng.int(LABELS.length))} ${of(label)}`;
    return { id, label, sample: { text, label: LABELS[label] } };
  });

const backend = wasmBackend();
installQuant(backend);
const config = {
  ...{ modelType: 'llama', hiddenSize: 64, intermediateSize: 128, headDim: 16 },
  ...{ numHiddenLayers: 3, numAttentionHeads: 4, numKeyValueHeads: 2, vocabSize: WORDS.length },
  ...{ maxPositionEmbeddings: 32, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: true },
};
const weights = randomWeightSource(1);
const engine = new DeviceEngine(await loadLlama(config, weights, 'int8', backend), tokenizer);
const plan: TapPlan = {
  ...{ template: '{text}', labels: LABELS, prefix: '', maxSeqLength: 16 },
  ...{ layers: [1, 2, 3], kinds: ['mean'], bits: 4 },
};
engine.usePlan(plan);

const [deviceEnd, serverEnd] = memoryChannelPair();
const session = runSession(new Connection(serverEnd, { role: 'server' }), {
  ...{ software: 'example', backend: { name: 'wasm' }, cacheLimit: 1e7, creditWindow: 1e6 },
  log: { info: () => {}, warn: (_, message) => console.error(message) },
});

const device = new Connection(deviceEnd, { role: 'device' });
const width = config.hiddenSize;
await greet(device, {
  ...{ software: 'example', fingerprint: weights.fingerprint, architecture: 'llama' },
  ...{ hiddenSize: width, layers: config.numHiddenLayers },
});
const timed: Parameters<typeof runJob>[1] = {
  calibrate: (samples) => engine.calibrate(samples),
  useCalibration: (calibration) => engine.useCalibration(calibration),
  encodeLayers(...of) {
    const startMs = clockMs();
    return { ...engine.encodeLayers(...of), startMs, endMs: clockMs() };
  },
};
const training: TrainingOptions = {
  ...{ side: 'parallel', baselines: [], epochs: 10, batchSize: 16, learningRate: 1e-2, rank: 8 },
  ...{ warmupRatio: 0.1, weightDecay: 0, maxGradNorm: 1, alphaStart: 0, gateRate: 1 },
  ...{ head: 'dense', tapDropout: 0, labelSmoothing: 0, refit: false, seed: 1 },
};
const job = { plan, width, train: rows(240), valid: rows(60), training };
const { metrics, files, bytes } = await runJob(device, timed, job, new Tracer('device'));
await Promise.all([device.close(), session]);
for (const [name, adapter] of files) console.log(`${name}: ${adapter.byteLength} bytes`);
console.log(`${bytes.up} bytes up, ${bytes.down} down; ${JSON.stringify(metrics)}`);
engine.dispose();
