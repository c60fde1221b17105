import { type Random, scope, slice, type Tensor, UsageError } from '../tensor/index.ts';
import type { Backbone, KvCache, LayerTap } from './backbone.ts';
import { copyCache } from './nn/kv-cache.ts';

/** How the next token is drawn. */
export interface SamplingOptions {
  /** 0 takes the likeliest token (greedy). */
  readonly temperature?: number;
  /** Only the k likeliest tokens; 0 for all. */
  readonly topK?: number;
  /** Smallest set of tokens whose probability reaches p (Holtzman et al. 2020); 1 for all. */
  readonly topP?: number;
  /** Only tokens of at least this share of the likeliest one's probability; 0 for all. */
  readonly minP?: number;
}

/** What stands beside a frozen model and changes the states from which its tokens come. */
export interface HiddenTuner {
  /** The layers whose outputs it reads, ascending. */
  readonly layers: readonly number[];
  /**
   * Hidden states `[R, D]` for the output head, of the same rows of each layer's output `[R, D]`,
   * which are overwritten.
   */
  tune(taps: readonly Float32Array[]): Tensor;
}

/** How a prompt is continued, and when that ends. */
export interface GenerateOptions extends SamplingOptions {
  readonly maxTokens: number;
  /** Tokens that end the text. */
  readonly stopTokens?: readonly number[];
  readonly random?: Random;
  /** An adapter beside the model. */
  readonly tuner?: HiddenTuner;
  /** What stands in front of the prompt; it is copied. */
  readonly past?: KvCache;
}

/**
 * Draws a token from logits `[V]`.
 * @throws UsageError when sampling without a generator
 */
export function sampleToken(
  logits: Float32Array,
  options: SamplingOptions,
  random?: Random,
): number {
  const { temperature = 0, topK = 0, topP = 1, minP = 0 } = options;
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  if (temperature <= 0) return best;
  if (!random) throw new UsageError('generate: sampling at a temperature takes a seeded generator');
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
  if (topK > 0) order.length = Math.min(order.length, topK);
  const weights = order.map((i) => Math.exp((logits[i] - logits[best]) / temperature));
  const total = weights.reduce((sum, w) => sum + w, 0);
  // The likeliest stays whatever p is: 0, or so small that it rounds to nothing.
  let kept = 1;
  let mass = weights[0];
  // The likeliest one's weight is 1.
  while (kept < order.length && mass < topP * total && weights[kept] >= minP) {
    mass += weights[kept++];
  }
  let left = random.uniform() * mass;
  for (let i = 0; i < kept; i++) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[kept - 1];
}

/** Runs tokens behind those in `cache`, which takes them in: logits `[V]` of the last one. */
export function nextLogits(
  backbone: Backbone,
  ids: Int32Array,
  cache: KvCache,
  tap?: LayerTap,
  tuner?: HiddenTuner,
): Float32Array {
  const last = ids.length - 1;
  return scope(() => {
    const lengths = [ids.length];
    const taps: Float32Array[] = [];
    const hidden = backbone.forward({ ids, lengths, past: cache, extendPast: true }, (layer, x) => {
      tap?.(layer, x);
      if (tuner?.layers.includes(layer)) taps.push(lastRow(x, last).toFloat32());
    });
    return backbone.logits(tuner ? tuner.tune(taps) : lastRow(hidden, last)).toFloat32();
  });
}

const lastRow = (x: Tensor, last: number) => scope(() => slice(x, 0, last, last + 1));

/**
 * Continues a prompt token by token over a KV cache; yields each new token id as it is drawn.
 * Stops after `maxTokens`, at a stop token (not yielded) or at the end of the context.
 */
export function* generate(
  backbone: Backbone,
  prompt: readonly number[],
  options: GenerateOptions,
): Generator<number, void> {
  if (prompt.length === 0) throw new UsageError('generate: the prompt has no tokens');
  const { maxPositionEmbeddings } = backbone.config;
  const { past } = options;
  const wanted = (past?.length ?? 0) + prompt.length + options.maxTokens;
  const capacity = Math.min(maxPositionEmbeddings, wanted);
  const cache = backbone.newCache(capacity);
  try {
    if (past) copyCache(past, cache);
    let ids = Int32Array.from(prompt);
    for (let made = 0; made < options.maxTokens; made++) {
      const logits = nextLogits(backbone, ids, cache, undefined, options.tuner);
      const next = sampleToken(logits, options, options.random);
      if (options.stopTokens?.includes(next)) return;
      yield next;
      if (cache.length >= capacity) return;
      ids = Int32Array.of(next);
    }
  } finally {
    cache.dispose();
  }
}
