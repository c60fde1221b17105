import { kernelVariant, type WeightFormat } from '../../quant/index.ts';
import { type Backend, concat, noGrad, scope, Tensor } from '../../tensor/index.ts';
import type {
  Backbone,
  BackboneConfig,
  KvCache,
  LayerTap,
  ModelFamily,
  PackedBatch,
  WeightMemory,
  WeightPrecision,
} from '../backbone.ts';
import type { LinearWeight } from './linear.ts';
import { LayerStream, type Layers, StreamedMatrix } from './weight-stream.ts';

/** The kernel that multiplies by weights of a format. */
const GEMMS = { qc8w: 'gemmQd8F32Qc8w', qb4w: 'gemmQd8F32Qb4w' } as const;

/** What every tree of weights has: layers, all of one kind. */
export interface LayeredParams<Layer> {
  readonly layers: Layers<Layer>;
}

/**
 * Tokens that go through a layer together. What a layer holds on the way grows with them, by six
 * residual streams and more; beyond a hundred rows matmuls become no faster.
 */
const GROUP_TOKENS = 128;

/**
 * What every architecture shares: weights that are counted and given back, and the walk through the
 * layers. An architecture says how tokens become rows, and what a layer makes of rows.
 *
 * `C`: its configuration. `P`: its tree of weights. `Layout`: what it has to know of a batch. `Layer`:
 * the weights of one layer.
 */
export abstract class FrozenModel<
  C extends BackboneConfig,
  P extends LayeredParams<Layer>,
  Layout,
  Layer,
> implements Backbone
{
  abstract readonly family: ModelFamily;
  readonly config: C;
  readonly backend: Backend;
  readonly precision: WeightPrecision;
  protected readonly params: P;

  constructor(config: C, params: P, precision: WeightPrecision, backend: Backend) {
    this.config = config;
    this.params = params;
    this.precision = precision;
    this.backend = backend;
  }

  get weightBytes(): number {
    return weightsOf(this.params).reduce((bytes, w) => bytes + bytesOfWeight(w), 0);
  }

  get weightMemory(): WeightMemory {
    const weights = weightsOf(this.params);
    const streams = weights.filter((w) => w instanceof LayerStream);
    return {
      resident: weights
        .filter((w) => !(w instanceof LayerStream || w instanceof StreamedMatrix))
        .reduce((bytes, w) => bytes + bytesOfWeight(w), 0),
      slots: streams.reduce((bytes, { slotBytes }) => bytes + slotBytes, 0),
    };
  }

  get kernels(): string {
    const formats = new Set(weightsOf(this.params).flatMap(formatsOf));
    // What a file holds in more bits than asked for may stay in them, so that both kernels run.
    const names = [...formats].sort().map((format) => kernelVariant(this.backend, GEMMS[format]));
    return names.length === 0
      ? `matmul f32 (${this.backend.description})`
      : `${names.join(' and ')} [${this.precision}]`;
  }

  /** Layer by layer: every group of sequences goes through one before any goes through the next. */
  forward(batch: PackedBatch, tap?: LayerTap): Tensor {
    const { layers } = this.params;
    return noGrad(() =>
      scope(() => {
        const groups = groupsOf(batch).map((part) => ({ part, layout: this.layout(part) }));
        const hidden = groups.map(({ part, layout }) => scope(() => this.embed(part, layout)));
        const show = (layer: number) => {
          if (hidden.length === 1) tap?.(layer, hidden[0]);
          else if (tap) scope(() => void tap(layer, concat(hidden, 0)));
        };
        show(0);
        for (let i = 0; i < this.config.numHiddenLayers; i++) {
          const params = layers instanceof LayerStream ? layers.acquire(i) : layers[i];
          for (const [g, { layout }] of groups.entries()) {
            const before = hidden[g];
            hidden[g] = scope(() => this.layer(params, before, layout, i));
            before.dispose();
          }
          show(i + 1);
        }
        return hidden.length === 1 ? hidden[0] : concat(hidden, 0);
      }),
    );
  }

  abstract logits(hidden: Tensor): Tensor;
  abstract newCache(capacity: number): KvCache;

  /** Frees the weights; using the model afterwards is a DisposedError. */
  dispose(): void {
    for (const weight of weightsOf(this.params)) weight.dispose();
  }

  /** What all layers have to know of a batch. @throws UsageError when it exceeds the context */
  protected abstract layout(batch: PackedBatch): Layout;
  /** Tokens to rows `[T, D]`: what layer 1 reads. */
  protected abstract embed(batch: PackedBatch, layout: Layout): Tensor;
  /** Layer `index`, from 0, with its weights `params`: `[T, D]` to `[T, D]`. */
  protected abstract layer(params: Layer, x: Tensor, layout: Layout, index: number): Tensor;
}

/** Sequences side by side, as many as make a group; one that is longer is a group of its own. */
function groupsOf(batch: PackedBatch): PackedBatch[] {
  const { ids, lengths, tokenTypes } = batch;
  const groups: PackedBatch[] = [];
  for (let first = 0, start = 0; first < lengths.length; ) {
    let [last, end] = [first, start];
    do end += lengths[last++];
    while (last < lengths.length && end - start + lengths[last] <= GROUP_TOKENS);
    groups.push({
      ...batch,
      ids: ids.subarray(start, end),
      lengths: lengths.slice(first, last),
      tokenTypes: tokenTypes?.subarray(start, end),
    });
    [first, start] = [last, end];
  }
  return groups.length > 1 ? groups : [batch];
}

/** What has memory or a file to give back. */
type Leaf = LinearWeight | StreamedMatrix | LayerStream<unknown>;

/** The leaves of a tree of weights. */
function weightsOf(tree: object): Leaf[] {
  return Object.values(tree).flatMap((branch) => {
    if (typeof branch !== 'object' || branch === null) return [];
    return typeof branch.dispose === 'function' ? [branch as Leaf] : weightsOf(branch);
  });
}

function bytesOfWeight(weight: Leaf): number {
  return weight instanceof Tensor ? weight.numel * 4 : weight.byteLength;
}

function formatsOf(weight: Leaf): WeightFormat[] {
  if (weight instanceof Tensor) return [];
  return 'formats' in weight ? [...weight.formats] : [weight.format];
}
