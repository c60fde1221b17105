import type { Sample } from '../data/index.ts';
import type {
  BatchCounts,
  ComputeTime,
  EncodedBatch,
  EncodingEngine,
  LabelLossRequest,
  OnLayer,
  Probabilities,
  TapPlan,
  TimedBatch,
  TimedLoss,
  TokenScores,
  TokenSurvey,
  Wording,
} from '../device/index.ts';
import type {
  ChannelAffine,
  ModelFamily,
  SamplingOptions,
  WeightPrecision,
} from '../model/index.ts';
import { keepHeapsSmall, spawnWorker } from '../platform/node.ts';
import { connectRpc, type RpcClient } from '../platform/rpc.ts';
import type { SavedAdapter } from './adapter-folder.ts';
import type { BenchCheck, BenchRun, BenchTest } from './bench-engine.ts';
import type { PlannedLm } from './memory-plan.ts';
import type { PackedState, PackMode, WeightPlace } from './packed-models.ts';

/** New objects of the device's thread: it makes few beside tensors, which lie elsewhere. */
const YOUNG_MEGABYTES = 2;

/** Which model the thread loads, and onto what. */
export interface LoadModelOptions {
  /** Path of the model file. */
  readonly path: string;
  readonly precision: WeightPrecision;
  /** `resident` unless told. */
  readonly weights?: WeightPlace;
  readonly backend: 'wasm' | 'cpu';
  /** Threads that compute, this one included; of `wasm` alone. 1 unless told. */
  readonly threads?: number;
  /** Replace every weight by a random one: the control that shows what pretraining is worth. */
  readonly randomSeed?: number;
  /** Bytes that the process may take. */
  readonly memoryLimit?: number;
  /** What will run, as far as memory depends on it; one sample of 256 tokens unless told. */
  readonly batchSize?: number;
  readonly maxSeqLength?: number;
  readonly connected?: boolean;
  readonly lm?: PlannedLm;
  /** What is done with packed weights in the cache; `never` unless told. */
  readonly pack?: PackMode;
}

/** What the device holds and runs, as shown to people and told to the server. */
export interface DeviceInfo {
  readonly fingerprint: string;
  readonly architecture: string;
  readonly family: ModelFamily;
  /** Numbers in all weights. */
  readonly parameters: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly contextLength: number;
  readonly vocabSize: number;
  /** Whether its files have a chat template. */
  readonly chat: boolean;
  /** Set when the weights are random ones made from it. */
  readonly randomSeed?: number;
  readonly backend: string;
  /** Threads that compute. */
  readonly threads: number;
  readonly kernels: string;
  readonly precision: WeightPrecision;
  readonly weightBytes: number;
  /** Where the weights came from. */
  readonly packed: PackedState;
}

/** Bytes that the device's backend and its thread hold. */
export interface DeviceMemory {
  /** Most bytes the backend ever held: weights, slots, activations, KV. */
  readonly peakBytes: number;
  /** Of weights that are held from load to end. */
  readonly resident: number;
  /** Of slots for layers that are read when it is their turn. */
  readonly slots: number;
  /** Keys and values of what stands in front of every sample. */
  readonly kv: number;
  /** Arrays of JavaScript in the thread, now. */
  readonly buffers: number;
}

/** What is sent of a batch's layer, by its place in the plan. */
export interface EncodedLayer {
  readonly index: number;
  readonly bytes: Uint8Array;
}

/** A prompt and how it is to be continued. */
export interface GenerateRequest extends SamplingOptions {
  readonly prompt: string;
  /** Whether the prompt is the user's turn of a conversation, worded by the model's template. */
  readonly chat?: boolean;
  /** The system's turn before it. */
  readonly system?: string;
  readonly maxTokens: number;
  readonly seed: number;
  /** Texts that end it, and are not part of it. */
  readonly stop?: readonly string[];
  /** Name of the adapter that tunes it; the prompt is then worded as the adapter's data was. */
  readonly adapter?: string;
}

/** What a continuation took: tokens, and milliseconds until the first and until the last. */
export interface GeneratedText {
  readonly tokens: number;
  readonly promptTokens: number;
  readonly promptMs: number;
  readonly totalMs: number;
}

/**
 * The device's compute in a thread of its own: the event loop that holds the socket, the progress
 * line and Ctrl-C is never blocked by a forward pass.
 */
export class DeviceThread implements EncodingEngine {
  readonly info: DeviceInfo;
  private readonly rpc: RpcClient;

  private constructor(rpc: RpcClient, info: DeviceInfo) {
    this.rpc = rpc;
    this.info = info;
  }

  /**
   * Starts the thread and loads a model.
   * @param onProgress called with the share loaded, 0 to 1
   * @param signal ends the thread at once, whatever it does, now and later
   * @throws FormatError for a file that is no model this build runs
   */
  static async load(
    options: LoadModelOptions,
    onProgress?: (share: number) => void,
    signal?: AbortSignal,
  ): Promise<DeviceThread> {
    signal?.throwIfAborted();
    keepHeapsSmall();
    const rpc = connectRpc(
      spawnWorker(new URL('./device-worker.ts', import.meta.url), {
        youngMegabytes: YOUNG_MEGABYTES,
      }),
    );
    signal?.addEventListener('abort', () => void rpc.terminate(), { once: true });
    try {
      const info = await rpc.call<DeviceInfo>('load', options, { onEvent: onProgress });
      return new DeviceThread(rpc, info);
    } catch (error) {
      await rpc.terminate();
      throw error;
    }
  }

  usePlan(plan: TapPlan): Promise<{ prefixTokens: number }> {
    return this.rpc.call('usePlan', plan);
  }

  /** Counts the tokens that samples come to, without running them. */
  survey(samples: readonly Sample[], wording: Wording): Promise<TokenSurvey> {
    const { template, labels, maxSeqLength, lm } = wording;
    return this.rpc.call('survey', { samples, wording: { template, labels, maxSeqLength, lm } });
  }

  calibrate(samples: readonly Sample[]): Promise<ChannelAffine> {
    return this.rpc.call('calibrate', samples);
  }

  useCalibration(calibration: ChannelAffine): Promise<void> {
    return this.rpc.call('useCalibration', calibration);
  }

  encodeLayers(samples: readonly Sample[], onLayer: OnLayer): Promise<BatchCounts & ComputeTime> {
    const onEvent = ({ index, bytes }: EncodedLayer) => onLayer(index, bytes);
    return this.rpc.call('encodeLayers', samples, { onEvent });
  }

  /** The same, all layers together. */
  async encode(samples: readonly Sample[]): Promise<TimedBatch> {
    const taps: Uint8Array[] = [];
    const counts = await this.encodeLayers(samples, (index, bytes) => {
      taps[index] = bytes;
    });
    return { ...counts, taps };
  }

  labelLoss(request: LabelLossRequest): Promise<TimedLoss> {
    return this.rpc.call('labelLoss', request);
  }

  /** Puts an adapter beside the backbone under a name; encodes as its job did from now on. */
  loadAdapter(name: string, adapter: SavedAdapter): Promise<void> {
    return this.rpc.call('loadAdapter', { name, adapter });
  }

  /** Class probabilities of encoded samples under the adapter of that name. */
  classify(name: string, batch: EncodedBatch): Promise<Probabilities> {
    return this.rpc.call('classify', { name, batch });
  }

  /** How well the model foresees samples, alone and under the adapter of that name. */
  score(name: string, samples: readonly Sample[]): Promise<TokenScores> {
    return this.rpc.call('score', { name, samples });
  }

  /** The frozen output head, as a server of a language model's job needs it. */
  outputHead(): Promise<Uint8Array> {
    return this.rpc.call('outputHead');
  }

  /** Streams a continuation; resolves with the number of tokens made. */
  generate(request: GenerateRequest, onText: (text: string) => void): Promise<GeneratedText> {
    return this.rpc.call('generate', request, { onEvent: onText });
  }

  /**
   * Holds two ways to the same numbers against each other.
   * @throws BackendError where they are not finite, or differ
   */
  benchCheck(): Promise<BenchCheck> {
    return this.rpc.call('benchCheck');
  }

  /** Makes ready what `benchRun` repeats. */
  benchPrepare(test: BenchTest): Promise<void> {
    return this.rpc.call('benchPrepare', test);
  }

  /** One repetition of the test that was prepared last. */
  benchRun(): Promise<BenchRun> {
    return this.rpc.call('benchRun');
  }

  memory(): Promise<DeviceMemory> {
    return this.rpc.call('memory');
  }

  /** Ends the thread at once, whatever it computes. */
  close(): Promise<void> {
    return this.rpc.terminate();
  }
}
