import { attention, noGrad, reshape, scope, type Tensor, UsageError } from '../../tensor/index.ts';
import type { BackboneConfig, KvCache, LayerTap, PackedBatch } from '../backbone.ts';
import { outputRows } from './embedding.ts';
import { FrozenModel, type LayeredParams } from './frozen-model.ts';
import { appendToCache, newKvCache } from './kv-cache.ts';
import { finalNorm, type OutputHead } from './output-head.ts';
import { longestWithin, positionsOf, segmentsOf } from './packed-batch.ts';

/** What every decoder has: heads, as its cache holds them. */
export interface DecoderConfig extends BackboneConfig {
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
}

/** What a forward pass needs to know of a batch, computed once for all layers. */
export interface DecoderLayout {
  /** i32 `[T]`, the cached tokens counted. */
  readonly positions: Tensor;
  /** i32 `[S, 2]`. */
  readonly segments: Tensor;
  /** Tokens of the longest sequence, the cached ones counted. */
  readonly longest: number;
  readonly past: KvCache | undefined;
  readonly extendPast: boolean;
}

/** A frozen model whose tokens see those before them, with a cache and an output head. */
export abstract class Decoder<
  C extends DecoderConfig,
  P extends LayeredParams<Layer>,
  Layer,
> extends FrozenModel<C, P, DecoderLayout, Layer> {
  readonly family = 'decoder';

  override forward(batch: PackedBatch, tap?: LayerTap): Tensor {
    const hidden = super.forward(batch, tap);
    if (batch.past && batch.extendPast) batch.past.length += batch.ids.length;
    return hidden;
  }

  logits(hidden: Tensor): Tensor {
    const { norm, matrix } = this.outputHead;
    return noGrad(() => scope(() => outputRows(finalNorm(norm, hidden), matrix)));
  }

  /** An empty KV cache for `capacity` tokens, f32. */
  newCache(capacity: number): KvCache {
    const { numHiddenLayers, numKeyValueHeads, headDim } = this.config;
    return newKvCache(numHiddenLayers, capacity, numKeyValueHeads, headDim, this.backend);
  }

  abstract get outputHead(): OutputHead;

  protected layout({ lengths, past, extendPast = false }: PackedBatch): DecoderLayout {
    const offset = past?.length ?? 0;
    const longest = longestWithin(this.config.maxPositionEmbeddings, lengths, offset);
    if (extendPast && lengths.length !== 1) {
      throw new UsageError(`a cache holds one sequence, the batch has ${lengths.length}`);
    }
    return {
      positions: positionsOf(lengths, offset, this.backend),
      segments: segmentsOf(lengths, this.backend),
      longest,
      past,
      extendPast,
    };
  }

  /**
   * Attention of layer `index` over the batch and what is cached, to which it is added where the
   * batch says so. q `[T, H, headDim]`; k, v `[T, kvHeads, headDim]`; the heads side by side,
   * `[T, H * headDim]`.
   */
  protected attend(
    index: number,
    { q, k, v }: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
    { segments, past, extendPast }: DecoderLayout,
  ): Tensor {
    const [tokens, heads, headDim] = q.shape;
    const out = attention(q, k, v, {
      segments,
      scale: 1 / Math.sqrt(headDim),
      causal: true,
      past: past && { k: past.k[index], v: past.v[index], length: past.length },
    });
    if (past && extendPast) appendToCache(past, index, k, v);
    return reshape(out, [tokens, heads * headDim]);
  }
}
