/** Entry of the device's compute thread: owns the backend, the backbone and the adapters. */
import type { Sample } from '../data/index.ts';
import type {
  BatchCounts,
  ComputeTime,
  DeviceEngine,
  EncodedBatch,
  LabelLossRequest,
  TapPlan,
  TimedLoss,
  Wording,
} from '../device/index.ts';
import { surveyTokens } from '../device/wording.ts';
import type { ChannelAffine, LoadedAdapter, ModelDialogue } from '../model/index.ts';
import { monotonicMs } from '../platform/clock.ts';
import { parentPort } from '../platform/node.ts';
import { serveRpc } from '../platform/rpc.ts';
import type { WasmBackend } from '../tensor/index.ts';
import type { SavedAdapter } from './adapter-folder.ts';
import { type BenchRun, type BenchTest, checkEngine, prepareBench } from './bench-engine.ts';
import type {
  DeviceInfo,
  DeviceMemory,
  EncodedLayer,
  GenerateRequest,
  LoadModelOptions,
} from './device-thread.ts';
import { generateText } from './generate-text.ts';
import { loadEngine } from './load-engine.ts';

let engine: DeviceEngine | undefined;
let dialogue: ModelDialogue = { stopTokenIds: [] };
const adapters = new Map<string, LoadedAdapter>();
let repetition: (() => BenchRun) | undefined;

function loaded(): DeviceEngine {
  if (!engine) throw new Error('device: load comes before everything else');
  return engine;
}

function adapterOf(name: string): LoadedAdapter {
  const adapter = adapters.get(name);
  if (!adapter) throw new Error(`device: adapter ${name} was not loaded`);
  return adapter;
}

serveRpc(parentPort(), {
  async load(options: LoadModelOptions, { emit }): Promise<DeviceInfo> {
    const {
      engine: made,
      config,
      parameters,
      fingerprint,
      ...rest
    } = await loadEngine(options, emit);
    engine = made;
    dialogue = rest.dialogue;
    const { backbone } = made;
    return {
      fingerprint,
      architecture: config.modelType,
      family: backbone.family,
      parameters,
      hiddenSize: config.hiddenSize,
      layers: config.numHiddenLayers,
      randomSeed: options.randomSeed,
      contextLength: config.maxPositionEmbeddings,
      vocabSize: config.vocabSize,
      chat: dialogue.chatTemplate !== undefined,
      backend: backbone.backend.description,
      threads: (backbone.backend as Partial<WasmBackend>).threads ?? 1,
      kernels: backbone.kernels,
      precision: backbone.precision,
      weightBytes: backbone.weightBytes,
      packed: rest.packed,
    };
  },

  usePlan: (plan: TapPlan) => loaded().usePlan(plan),

  survey: ({ samples, wording }: { samples: readonly Sample[]; wording: Wording }) =>
    surveyTokens(loaded().tokenizer, samples, wording, loaded().chatTemplate),

  calibrate: (samples: readonly Sample[]) => loaded().calibrate(samples),

  useCalibration: (calibration: ChannelAffine) => loaded().useCalibration(calibration),

  encodeLayers(samples: readonly Sample[], { emit }): BatchCounts & ComputeTime {
    const startMs = monotonicMs();
    const counts = loaded().encodeLayers(samples, (index, bytes) => {
      emit({ index, bytes } satisfies EncodedLayer, bytes.buffer as ArrayBuffer);
    });
    return { ...counts, startMs, endMs: monotonicMs() };
  },

  labelLoss(request: LabelLossRequest, { transfer }): TimedLoss {
    const startMs = monotonicMs();
    const loss = loaded().labelLoss(request);
    transfer(loss.gradient.buffer as ArrayBuffer);
    return { ...loss, startMs, endMs: monotonicMs() };
  },

  async loadAdapter({ name, adapter }: { name: string; adapter: SavedAdapter }) {
    // With what checks its configuration: training never needs it here.
    const { instantiateAdapter } = await import('./adapter-folder.ts');
    const engine = loaded();
    const instance = await instantiateAdapter(adapter, engine.backbone.backend);
    engine.useCalibration(instance.calibration);
    adapters.set(name, instance);
  },

  classify: ({ name, batch }: { name: string; batch: EncodedBatch }) =>
    loaded().classify(adapterOf(name), batch),

  score: ({ name, samples }: { name: string; samples: readonly Sample[] }) =>
    loaded().score(adapterOf(name), samples),

  outputHead(_: undefined, { transfer }): Uint8Array {
    const bytes = loaded().outputHead();
    transfer(bytes.buffer as ArrayBuffer);
    return bytes;
  },

  generate(request: GenerateRequest, { emit }) {
    const { adapter } = request;
    return generateText(
      loaded(),
      dialogue,
      request,
      emit,
      adapter === undefined ? undefined : adapterOf(adapter),
    );
  },

  benchCheck: () => checkEngine(loaded()),

  benchPrepare(test: BenchTest): void {
    repetition = prepareBench(loaded(), test);
  },

  benchRun(): BenchRun {
    if (!repetition) throw new Error('device: benchPrepare comes before benchRun');
    return repetition();
  },

  memory(): DeviceMemory {
    const { backbone, prefixBytes } = loaded();
    return {
      peakBytes: backbone.backend.memory().peakBytes,
      ...backbone.weightMemory,
      kv: prefixBytes,
      buffers: process.memoryUsage().arrayBuffers,
    };
  },
});
