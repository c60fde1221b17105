import type { Sample } from '../data/index.ts';
import type { ChannelAffine } from '../model/index.ts';
import type {
  AcceptMessage,
  EpochMessage,
  JobMessage,
  JsonObject,
  SavedMessage,
  Split,
  StepMessage,
} from '../transport/index.ts';
import type { BatchCounts, EncodedBatch, OnLayer } from './device-engine.ts';
import type { LabelExchange, TimedLoss } from './label-answers.ts';
import type { LabelLossRequest } from './label-loss.ts';
import type { TapPlan } from './tap-plan.ts';

/** The time that a batch was computed in, by `monotonicMs` of this machine. */
export interface ComputeTime {
  readonly startMs: number;
  readonly endMs: number;
}

/** A batch with the time it was computed in. */
export interface TimedBatch extends EncodedBatch, ComputeTime {}

/** Whatever turns samples into activations: an engine in this thread or one in another. */
export interface EncodingEngine {
  /** Calibrates the codec of all that follows. */
  calibrate(samples: readonly Sample[]): Promise<ChannelAffine> | ChannelAffine;
  /** Encodes all that follows as an earlier start of the job did. */
  useCalibration(calibration: ChannelAffine): Promise<void> | void;
  /** Runs samples through the backbone and encodes what is sent of them, a layer as it is done. */
  encodeLayers(
    samples: readonly Sample[],
    onLayer: OnLayer,
  ): Promise<BatchCounts & ComputeTime> | (BatchCounts & ComputeTime);
  /** Of a language model whose labels stay here: the loss of a server's states, and its gradient. */
  labelLoss?(request: LabelLossRequest): Promise<TimedLoss> | TimedLoss;
}

/** What is to be trained and on what. Labels are indices into `plan.labels`, standardised numbers, or of a language model nothing. */
export interface JobSpec {
  readonly plan: TapPlan;
  readonly width: number;
  /** Rows in the order in which they are sent. */
  readonly train: readonly LabelledRow[];
  readonly valid: readonly LabelledRow[];
  readonly training: JobMessage['training'];
  /**
   * Of a language model: tokens of its vocabulary, and its output head, for a server that does not
   * have it. Without a head labels stay here, and the engine has `labelLoss`.
   */
  readonly lm?: { readonly vocab: number; readonly head?: Uint8Array };
  /** How it can be continued; without it, it is a job of its own that nobody will come back for. */
  readonly keep?: KeptJob;
}

/** How a job is known to the server, and what to continue it with. */
export interface KeptJob {
  /** From `newJobId`; who knows it may continue the job. */
  readonly id: string;
  /** Steps of the server between two checkpoints. */
  readonly saveEvery: number;
  /** Of the first start, where this is not it. */
  readonly resume?: CalibrationTables;
}

/** A calibration as it travels in JOB. */
export type CalibrationTables = Pick<JobMessage['codec'], 'mean' | 'scale'>;

/** A sample as it is sent: with its number, and the index of its class or its standardised label. */
export interface LabelledRow {
  /** Number of the row within its split. */
  readonly id: number;
  readonly sample: Sample;
  readonly label: number;
}

/** What the job tells while it runs. */
export interface JobProgress {
  /** The server has taken the job on, and says how far it is. Awaited before the first row. */
  onAccepted?(accepted: AcceptMessage, calibration: CalibrationTables): Promise<void> | void;
  /** So much is on the server's disk. */
  onSaved?(saved: SavedMessage): void;
  /** A batch has been computed and handed to the socket. */
  onBatch?(batch: {
    split: Split;
    samplesSent: number;
    samplesTotal: number;
    tokens: number;
    truncated: number;
    deviceMs: number;
    bytesSent: number;
  }): void;
  /** A part of a server's step was answered, whose labels stay here. */
  onExchange?(exchange: LabelExchange): void;
  /** The server made a step of the job's side network. */
  onStep?(step: StepMessage): void;
  /** The server finished an epoch of it. */
  onEpoch?(epoch: EpochMessage): void;
}

/** What a finished job leaves on the device. */
export interface JobOutcome {
  /** RESULT's metrics. */
  readonly metrics: JsonObject;
  /** Adapter files by name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly bytes: { up: number; down: number };
  readonly tokens: number;
  readonly truncated: number;
  /** Where labels stayed here. */
  readonly exchange?: LabelExchange;
}
