import type { Backend } from '../tensor/backend.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { OutputHead } from './nn/output-head.ts';

/** What every architecture has; keys are Hugging Face's in camelCase. */
export interface BackboneConfig {
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly vocabSize: number;
  readonly maxPositionEmbeddings: number;
}

/**
 * `decoder`: a token sees those before it, so the words of a prompt's end read all of it, text can
 * be generated and a prefix kept. `encoder`: a token sees its whole sequence.
 */
export type ModelFamily = 'decoder' | 'encoder';

/** How the backbone's matrices are held: exactly as f32, or as integers with dynamic int8 inputs. */
export type WeightPrecision = 'f32' | 'int8' | 'int4';

/**
 * Keys and values of tokens already seen, a pair a layer, each `[capacity, kvHeads, headDim]`.
 * Serves generation (one token at a time) and the few-shot prefix (computed once, read by all).
 */
export interface KvCache {
  readonly k: readonly Tensor[];
  readonly v: readonly Tensor[];
  /** Most tokens it can hold. */
  readonly capacity: number;
  /** Tokens held. */
  length: number;
  /** Gives the memory of all keys and values back. */
  dispose(): void;
}

/** Sequences laid end to end, without padding: T tokens in all. */
export interface PackedBatch {
  /** Token ids `[T]`. */
  readonly ids: Int32Array;
  /** Tokens of each sequence; their sum is T. */
  readonly lengths: readonly number[];
  /** Token types `[T]` of models that tell a pair's two texts apart; 0 everywhere when left out. */
  readonly tokenTypes?: Int32Array;
  /** What all sequences have in front of them. */
  readonly past?: KvCache;
  /** Append this batch's keys and values to `past`; one sequence only. */
  readonly extendPast?: boolean;
}

/** Called after layer 1..L with the residual stream `[T, D]`, and with 0 for the embedding. Valid during the call. */
export type LayerTap = (layer: number, hidden: Tensor) => void;

/** Bytes of weights in memory. */
export interface WeightMemory {
  /** Held from load to `dispose`. */
  readonly resident: number;
  /** Slots for layers that are read when it is their turn; 0 where all are held. */
  readonly slots: number;
}

/** A frozen model: forward only, no tape. */
export interface Backbone {
  readonly family: ModelFamily;
  readonly config: BackboneConfig;
  readonly backend: Backend;
  readonly precision: WeightPrecision;
  /** Bytes of all weights in the form in which they are computed with. */
  readonly weightBytes: number;
  /** Where they are. */
  readonly weightMemory: WeightMemory;
  /** Kernels that compute the matmuls, as shown to people. */
  readonly kernels: string;
  /**
   * Residual stream after the last layer, before the final norm: `[T, D]`.
   * @throws UsageError when a sequence with its past exceeds the model's context
   */
  forward(batch: PackedBatch, tap?: LayerTap): Tensor;
  /** Final norm and output head: `[R, D]` to `[R, V]`. */
  logits(hidden: Tensor): Tensor;
  /** What `logits` computes with; none of an encoder. Its tensors are the backbone's. */
  readonly outputHead?: OutputHead;
  /** An empty cache for `capacity` tokens, on this backbone's backend; the caller disposes it. */
  newCache(capacity: number): KvCache;
  /** Gives the memory of the weights back; caches are their callers' to dispose. */
  dispose(): void;
}
