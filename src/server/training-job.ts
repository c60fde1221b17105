import type { Task } from '../data/index.ts';
import type { SideShape, TapCodec } from '../model/index.ts';
import type { TrainingOptions } from './training-options.ts';

/** Which rows: those trained on, or those that choose the number of epochs. */
export type Split = 'train' | 'valid';

/** One batch as the device sent it. */
export interface ReceivedBatch {
  readonly split: Split;
  /** Row ids, unique within the split. */
  readonly rows: readonly number[];
  /** None where they stay on the device. */
  readonly labels: readonly number[];
  /** Tokens that each row sends, of a language model, whose labels are those tokens' next ones. */
  readonly counts?: readonly number[];
  /** Per tapped layer, the codec's bytes of `[B*K, D]`, a sample's K rows together; B are tokens. */
  readonly taps: readonly Uint8Array[];
}

/** What a job fixes before its first row. */
export interface TrainingJob {
  readonly shape: SideShape;
  readonly codec: TapCodec;
  /** What labels are: class indices unless said otherwise. */
  readonly task?: Task;
  /** Tokens of a language model's vocabulary. */
  readonly vocab?: number;
  /** Of a language model: its labels, and its output head, stay on the device, which computes the loss. */
  readonly labelsOnDevice?: boolean;
  /** Rows to come. */
  readonly rows: Readonly<Record<Split, number>>;
  readonly options: TrainingOptions;
  /** Bytes of activations held in memory before they spill. */
  readonly cacheLimit: number;
  readonly spillDir?: string;
}

/** What the trainer has done since it was last asked. */
export type TrainerEvent =
  /** Nothing to do before more rows come, or before `until` is settled. */
  | { readonly kind: 'wait'; readonly until?: Promise<void> }
  | {
      readonly kind: 'step';
      readonly model: string;
      readonly step: number;
      readonly totalSteps: number;
      /** From 1. */
      readonly epoch: number;
      readonly loss: number;
      readonly gradNorm: number;
      /** Steps of the same call that are made, and still to be told: only after 0 it may be saved. */
      readonly rest?: number;
    }
  | {
      readonly kind: 'epoch';
      readonly model: string;
      readonly epoch: number;
      readonly trainLoss: number;
      readonly validLoss: number;
      readonly validAccuracy: number | null;
    }
  | { readonly kind: 'trained'; readonly trained: TrainedModel };

/** A side model after training. */
export interface TrainedModel {
  readonly name: string;
  /** The epoch kept, from 1: the last that the validation rows cannot tell from the best. */
  readonly bestEpoch: number;
  readonly epochs: number;
  /** Null where there are no classes. */
  readonly validAccuracy: number | null;
  readonly validLoss: number;
  /** Of a language model: the loss there before any step, which is the frozen model's. */
  readonly startLoss?: number;
  /** Standard error of the accuracy, or of a regression's loss; 0 of a language model. */
  readonly validError: number;
  readonly parameters: number;
  /** Contents of adapter_model.safetensors. */
  readonly weights: Uint8Array;
}
