import { gatherQuantizedRows, kernelVariant } from '../quant/index.ts';
import {
  attention,
  type Backend,
  disposeTree,
  gatherRows,
  keep,
  noGrad,
  reshape,
  rmsNorm,
  rope,
  scope,
  siluMul,
  Tensor,
  tensor,
  UsageError,
} from '../tensor/index.ts';
import type {
  Backbone,
  BackboneConfig,
  KvCache,
  LayerTap,
  PackedBatch,
  WeightPrecision,
} from './backbone.ts';
import { appendToCache, newKvCache } from './nn/kv-cache.ts';
import { type LinearWeight, linear, linears } from './nn/linear.ts';
import { type RotaryTable, rotaryTable } from './nn/rotary.ts';

/** Llama (Touvron et al. 2023): RMS norms, rotary positions, grouped-query attention, SwiGLU. */
export interface LlamaConfig extends BackboneConfig {
  readonly intermediateSize: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly tieWordEmbeddings: boolean;
}

/** One layer's weights; matrices `[out, in]`, norms `[D]`. */
export interface LlamaLayerParams {
  readonly inputLayernorm: Tensor;
  readonly qProj: LinearWeight;
  readonly kProj: LinearWeight;
  readonly vProj: LinearWeight;
  readonly oProj: LinearWeight;
  readonly postAttentionLayernorm: Tensor;
  readonly gateProj: LinearWeight;
  readonly upProj: LinearWeight;
  readonly downProj: LinearWeight;
}

/** A Llama's weights, each matrix in f32 or packed. */
export interface LlamaParams {
  /** `[V, D]`. */
  readonly embedTokens: LinearWeight;
  readonly layers: readonly LlamaLayerParams[];
  readonly norm: Tensor;
  /** `[V, D]`; the same object as `embedTokens` when tied. */
  readonly lmHead: LinearWeight;
}

/** What a forward pass needs to know of a batch, computed once for all layers. */
interface BatchLayout {
  readonly positions: Tensor;
  readonly segments: Tensor;
  readonly past: KvCache | undefined;
  readonly extendPast: boolean;
}

/** A frozen Llama on one backend. */
export class Llama implements Backbone {
  readonly family = 'decoder';
  readonly config: LlamaConfig;
  readonly backend: Backend;
  readonly precision: WeightPrecision;
  private readonly params: LlamaParams;
  private rotary: RotaryTable;

  constructor(
    config: LlamaConfig,
    params: LlamaParams,
    precision: WeightPrecision,
    backend: Backend,
  ) {
    this.config = config;
    this.params = params;
    this.precision = precision;
    this.backend = backend;
    const { maxPositionEmbeddings, headDim, ropeTheta } = config;
    this.rotary = keep(
      rotaryTable(Math.min(512, maxPositionEmbeddings), headDim, ropeTheta, backend),
    );
  }

  get weightBytes(): number {
    const { embedTokens, lmHead, layers, norm } = this.params;
    const all: LinearWeight[] = layers.flatMap((layer) => Object.values(layer));
    all.push(embedTokens, norm);
    if (lmHead !== embedTokens) all.push(lmHead);
    return all.reduce((bytes, w) => bytes + (w instanceof Tensor ? w.numel * 4 : w.byteLength), 0);
  }

  get kernels(): string {
    return this.precision === 'f32'
      ? `matmul f32 (${this.backend.description})`
      : `${kernelVariant(this.backend)} [${this.precision}]`;
  }

  /** An empty KV cache for `capacity` tokens, f32. */
  newCache(capacity: number): KvCache {
    const { numHiddenLayers, numKeyValueHeads, headDim } = this.config;
    return newKvCache(numHiddenLayers, capacity, numKeyValueHeads, headDim, this.backend);
  }

  forward(batch: PackedBatch, tap?: LayerTap): Tensor {
    return noGrad(() =>
      scope(() => {
        const layout = this.layout(batch);
        let hidden = this.embed(batch.ids);
        tap?.(0, hidden);
        for (let i = 0; i < this.config.numHiddenLayers; i++) {
          const before = hidden;
          hidden = scope(() => this.layer(i, before, layout));
          before.dispose();
          tap?.(i + 1, hidden);
        }
        if (batch.past && batch.extendPast) batch.past.length += batch.ids.length;
        return hidden;
      }),
    );
  }

  logits(hidden: Tensor): Tensor {
    return noGrad(() =>
      scope(() =>
        linear(rmsNorm(hidden, this.params.norm, this.config.rmsNormEps), this.params.lmHead),
      ),
    );
  }

  /** Frees weights and rotary table; using the model afterwards is a DisposedError. */
  dispose(): void {
    const { embedTokens, lmHead, layers, norm } = this.params;
    for (const weight of layers.flatMap((layer) => Object.values(layer))) weight.dispose();
    embedTokens.dispose();
    if (lmHead !== embedTokens) lmHead.dispose();
    norm.dispose();
    disposeTree(this.rotary);
  }

  /** Rows of the embedding, `[T, D]`. */
  private embed(ids: Int32Array): Tensor {
    const table = this.params.embedTokens;
    const index = tensor(ids, [ids.length], { backend: this.backend });
    return table instanceof Tensor ? gatherRows(table, index) : gatherQuantizedRows(table, index);
  }

  /** Attention block, then MLP block, each added to the residual stream `x` `[T, D]`. */
  private layer(index: number, x: Tensor, layout: BatchLayout): Tensor {
    const p = this.params.layers[index];
    const { rmsNormEps } = this.config;
    const attended = scope(() => {
      const heads = this.attend(index, rmsNorm(x, p.inputLayernorm, rmsNormEps), layout);
      return linear(heads, p.oProj, { residual: x });
    });
    const normed = rmsNorm(attended, p.postAttentionLayernorm, rmsNormEps);
    const [gate, up] = linears(normed, [p.gateProj, p.upProj]);
    return linear(siluMul(gate, up), p.downProj, { residual: attended });
  }

  /** Heads' outputs side by side, `[T, H * headDim]`. */
  private attend(index: number, x: Tensor, layout: BatchLayout): Tensor {
    const p = this.params.layers[index];
    const { numAttentionHeads, numKeyValueHeads, headDim } = this.config;
    const tokens = x.shape[0];
    const [q, k, v] = linears(x, [p.qProj, p.kProj, p.vProj]);
    const rotate = (y: Tensor, heads: number) =>
      rope(
        reshape(y, [tokens, heads, headDim]),
        this.rotary.cos,
        this.rotary.sin,
        layout.positions,
      );
    const keys = rotate(k, numKeyValueHeads);
    const values = reshape(v, [tokens, numKeyValueHeads, headDim]);
    const { past } = layout;
    const out = attention(rotate(q, numAttentionHeads), keys, values, {
      segments: layout.segments,
      scale: 1 / Math.sqrt(headDim),
      causal: true,
      past: past && { k: past.k[index], v: past.v[index], length: past.length },
    });
    if (past && layout.extendPast) appendToCache(past, index, keys, values);
    return reshape(out, [tokens, numAttentionHeads * headDim]);
  }

  /** Positions and segment bounds; grows the rotary table when a sequence is longer than it. */
  private layout(batch: PackedBatch): BatchLayout {
    const { ids, lengths, past, extendPast = false } = batch;
    const offset = past?.length ?? 0;
    const longest = offset + Math.max(0, ...lengths);
    const { maxPositionEmbeddings, headDim, ropeTheta } = this.config;
    if (longest > maxPositionEmbeddings) {
      throw new UsageError(
        `a sequence of ${longest} tokens exceeds the model's context of ${maxPositionEmbeddings}; lower --max-seq-length`,
      );
    }
    if (extendPast && lengths.length !== 1) {
      throw new UsageError(`a cache holds one sequence, the batch has ${lengths.length}`);
    }
    const held = this.rotary.cos.shape[0];
    if (longest > held) {
      disposeTree(this.rotary);
      const positions = Math.min(maxPositionEmbeddings, Math.max(longest, 2 * held));
      this.rotary = keep(rotaryTable(positions, headDim, ropeTheta, this.backend));
    }
    const positions = new Int32Array(ids.length);
    const segments = new Int32Array(2 * lengths.length);
    let start = 0;
    lengths.forEach((length, s) => {
      segments.set([start, length], 2 * s);
      for (let t = 0; t < length; t++) positions[start + t] = offset + t;
      start += length;
    });
    const { backend } = this;
    return {
      positions: tensor(positions, [ids.length], { backend }),
      segments: tensor(segments, [lengths.length, 2], { backend }),
      past,
      extendPast,
    };
  }
}
