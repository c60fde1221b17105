/** Entry of the device's compute thread: owns the backend, the backbone and the adapters. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Sample } from '../data/index.ts';
import { DeviceEngine, type EncodedBatch, type TapPlan, type TimedBatch } from '../device/index.ts';
import {
  generate,
  ggufWeightSource,
  type LoadedAdapter,
  llamaConfigFromGguf,
  loadLlama,
  openGguf,
  randomWeightSource,
  tokenizerFromGguf,
} from '../model/index.ts';
import { monotonicMs } from '../platform/clock.ts';
import { fileByteSource, parentPort, sha256File } from '../platform/node.ts';
import { serveRpc } from '../platform/rpc.ts';
import { cpuBackend, random, setBackend, wasmBackend } from '../tensor/index.ts';
import { instantiateAdapter, type SavedAdapter } from './adapter-folder.ts';
import type {
  DeviceInfo,
  DeviceMemory,
  GenerateRequest,
  LoadModelOptions,
} from './device-thread.ts';

let engine: DeviceEngine | undefined;
const adapters = new Map<string, LoadedAdapter>();

function loaded(): DeviceEngine {
  if (!engine) throw new Error('device: load comes before everything else');
  return engine;
}

serveRpc(parentPort(), {
  async load(options: LoadModelOptions, { emit }): Promise<DeviceInfo> {
    const backend = options.backend === 'cpu' ? cpuBackend() : wasmBackend();
    setBackend(backend);
    const source = await fileByteSource(options.path);
    try {
      const file = await openGguf(source);
      const config = llamaConfigFromGguf(file);
      const { randomSeed } = options;
      const weights =
        randomSeed === undefined
          ? ggufWeightSource(file, await sha256File(options.path), config.headDim)
          : randomWeightSource(randomSeed);
      const tokenizer = tokenizerFromGguf(file.metadata);
      const backbone = await loadLlama(config, weights, options.weights, backend, (done, total) =>
        emit(done / total),
      );
      engine = new DeviceEngine(backbone, tokenizer);
      return {
        fingerprint: weights.fingerprint,
        architecture: config.modelType,
        hiddenSize: config.hiddenSize,
        layers: config.numHiddenLayers,
        randomSeed,
        contextLength: config.maxPositionEmbeddings,
        backend: backend.description,
        kernels: backbone.kernels,
        weights: backbone.precision,
        weightBytes: backbone.weightBytes,
      };
    } finally {
      await source.close();
    }
  },

  usePlan: (plan: TapPlan) => loaded().usePlan(plan),

  calibrate: (samples: readonly Sample[]) => loaded().calibrate(samples),

  encode(samples: readonly Sample[], { transfer }): TimedBatch {
    const startMs = monotonicMs();
    const batch = loaded().encode(samples);
    transfer(...batch.taps.map((bytes) => bytes.buffer as ArrayBuffer));
    return { ...batch, startMs, endMs: monotonicMs() };
  },

  async loadAdapter({ name, adapter }: { name: string; adapter: SavedAdapter }) {
    const engine = loaded();
    const instance = await instantiateAdapter(adapter, engine.backbone.backend);
    engine.useCalibration(instance.calibration);
    adapters.set(name, instance);
  },

  classify({ name, batch }: { name: string; batch: EncodedBatch }) {
    const adapter = adapters.get(name);
    if (!adapter) throw new Error(`device: adapter ${name} was not loaded`);
    return loaded().classify(adapter, batch);
  },

  async generate(request: GenerateRequest, { emit }) {
    const { backbone, tokenizer } = loaded();
    const ids = tokenizer.encode(request.prompt);
    const stream = tokenizer.decodeStream();
    const startMs = monotonicMs();
    let promptMs = 0;
    let tokens = 0;
    const stop = tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId];
    for (const id of generate(backbone, ids, {
      ...request,
      stopTokens: stop,
      random: random(request.seed),
    })) {
      if (tokens++ === 0) promptMs = monotonicMs() - startMs;
      const text = stream.push(id);
      if (text) emit(text);
      await turn();
    }
    const rest = stream.flush();
    if (rest) emit(rest);
    return { tokens, promptTokens: ids.length, promptMs, totalMs: monotonicMs() - startMs };
  },

  memory(): DeviceMemory {
    const { backbone } = loaded();
    return {
      peakBytes: backbone.backend.memory().peakBytes,
      weightBytes: backbone.weightBytes,
    };
  },
});
