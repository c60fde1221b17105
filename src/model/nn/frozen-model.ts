import { kernelVariant } from '../../quant/index.ts';
import { type Backend, noGrad, scope, Tensor } from '../../tensor/index.ts';
import type {
  Backbone,
  BackboneConfig,
  KvCache,
  LayerTap,
  ModelFamily,
  PackedBatch,
  WeightPrecision,
} from '../backbone.ts';
import type { LinearWeight } from './linear.ts';

/** The kernel that multiplies by weights of a format. */
const GEMMS = { qc8w: 'gemmQd8F32Qc8w', qb4w: 'gemmQd8F32Qb4w' } as const;

/**
 * What every architecture shares: weights that are counted and given back, and the walk through the
 * layers. An architecture says how tokens become rows, and what a layer makes of rows.
 *
 * `C`: its configuration. `P`: its tree of weights. `Layout`: what it has to know of a batch.
 */
export abstract class FrozenModel<C extends BackboneConfig, P extends object, Layout>
  implements Backbone
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
    return weightsOf(this.params).reduce(
      (bytes, w) => bytes + (w instanceof Tensor ? w.numel * 4 : w.byteLength),
      0,
    );
  }

  get kernels(): string {
    const formats = new Set(
      weightsOf(this.params).flatMap((w) => (w instanceof Tensor ? [] : [w.format])),
    );
    // What a file holds in more bits than asked for may stay in them, so that both kernels run.
    const names = [...formats].sort().map((format) => kernelVariant(this.backend, GEMMS[format]));
    return names.length === 0
      ? `matmul f32 (${this.backend.description})`
      : `${names.join(' and ')} [${this.precision}]`;
  }

  forward(batch: PackedBatch, tap?: LayerTap): Tensor {
    return noGrad(() =>
      scope(() => {
        const layout = this.layout(batch);
        let hidden = scope(() => this.embed(batch, layout));
        tap?.(0, hidden);
        for (let i = 0; i < this.config.numHiddenLayers; i++) {
          const before = hidden;
          hidden = scope(() => this.layer(i, before, layout));
          before.dispose();
          tap?.(i + 1, hidden);
        }
        return hidden;
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
  /** Layer `index`, from 0: `[T, D]` to `[T, D]`. */
  protected abstract layer(index: number, x: Tensor, layout: Layout): Tensor;
}

/** The leaves of a tree of weights: whatever has memory to give back. */
function weightsOf(tree: object): LinearWeight[] {
  return Object.values(tree).flatMap((branch) => {
    if (typeof branch !== 'object' || branch === null) return [];
    return typeof branch.dispose === 'function' ? [branch as LinearWeight] : weightsOf(branch);
  });
}
