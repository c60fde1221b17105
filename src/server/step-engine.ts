import type { Task } from '../data/index.ts';
import type { ChannelAffine, SideShape, TapCodec } from '../model/index.ts';
import type { RowScore } from './objective.ts';
import type { TrainingOptions } from './training-options.ts';

// All of this is plain numbers, so that it can go to another process.

/** What an engine has to know of a job. */
export interface EngineJob {
  readonly shape: SideShape;
  readonly codec: TapCodec;
  readonly task: Task;
  /** Tokens of a language model's vocabulary; 0 of a classifier. */
  readonly vocab: number;
  readonly options: TrainingOptions;
}

/** Samples that are computed at once. */
export interface EnginePart {
  /** Their cached records, one behind the other, as they were received. */
  readonly records: Uint8Array;
  readonly labels: readonly number[];
}

/** Parameters and both moments of a model, each a list in the order of `leaves`. */
export interface FitValues {
  /** Steps made. */
  readonly step: number;
  readonly params: readonly Float32Array[];
  readonly m: readonly Float32Array[];
  readonly v: readonly Float32Array[];
}

/** One call of several steps: the batch of each, in parts, and its learning rate. */
export interface StepsCall {
  /** Name of the side model. */
  readonly model: string;
  readonly from: FitValues;
  readonly standardizer: ChannelAffine;
  readonly batches: readonly (readonly EnginePart[])[];
  readonly learningRates: readonly number[];
}

/** What came of it: of every step its mean loss and its gradient's norm before clipping. */
export interface StepsResult {
  readonly to: FitValues;
  readonly losses: Float32Array;
  readonly gradNorms: Float32Array;
}

/** Rows to be compared, and by which parameters. */
export interface ScoresCall {
  readonly model: string;
  readonly params: readonly Float32Array[];
  readonly standardizer: ChannelAffine;
  readonly parts: readonly EnginePart[];
}

/**
 * Where the steps of a training are computed, several a call, when that is not the thread of the
 * trainer itself or answers later only. It keeps nothing of a training between two calls, so a
 * trainer can be saved after each.
 */
export interface StepEngine {
  /** What runs; shown to people. */
  readonly description: string;
  /** Steps of a call at the most, where it is not the trainer's choice. */
  readonly stepsACall?: number;
  /** Begins a job. */
  begin(job: EngineJob): Promise<void>;
  /** The frozen head of a language model. @throws FormatError (E_LM_HEAD) for one of another model */
  useHead(bytes: Uint8Array): Promise<void>;
  /** Makes steps. @throws BackendError where the backend fails */
  steps(call: StepsCall): Promise<StepsResult>;
  /** Scores of all rows, in their order. */
  scores(call: ScoresCall): Promise<readonly RowScore[]>;
  /** The most bytes that tensors have taken. */
  peakBytes(): Promise<number>;
  /** Gives everything back. */
  close(): Promise<void>;
}
