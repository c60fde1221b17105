import { type Backend, ShapeError, scope, slice, Tensor } from '../../tensor/index.ts';
import type { KvCache } from '../backbone.ts';

/** An empty cache for `layers` layers of `kvHeads` x `headDim`; f32, `capacity` tokens. */
export function newKvCache(
  layers: number,
  capacity: number,
  kvHeads: number,
  headDim: number,
  backend: Backend,
): KvCache {
  const make = () =>
    Array.from({ length: layers }, () =>
      Tensor.empty([capacity, kvHeads, headDim], 'f32', backend),
    );
  const k = make();
  const v = make();
  return {
    k,
    v,
    capacity,
    length: 0,
    dispose() {
      for (const one of [...k, ...v]) one.dispose();
    },
  };
}

/**
 * Copies a layer's new keys and values `[T, kvHeads, headDim]` behind those held. The caller adds T
 * to `length` once all layers are done.
 * @throws ShapeError when they do not fit
 */
export function appendToCache(cache: KvCache, layer: number, k: Tensor, v: Tensor): void {
  const tokens = k.shape[0];
  if (cache.length + tokens > cache.capacity) {
    throw new ShapeError(
      `kvCache: ${cache.length} + ${tokens} tokens exceed the capacity of ${cache.capacity}`,
    );
  }
  const width = k.numel / Math.max(tokens, 1);
  const copyRows = (to: Tensor, from: Tensor) =>
    to.backend.kernels.copy(
      to.handle,
      cache.length * width,
      from.handle,
      0,
      ...[1, 1, tokens, width],
      ...[0, 0, width, 1],
      ...[0, 0, width, 1],
    );
  copyRows(cache.k[layer], k);
  copyRows(cache.v[layer], v);
}

/** Copies all that one cache holds to the front of another of the same model, which is empty. */
export function copyCache(from: KvCache, to: KvCache): void {
  from.k.forEach((k, layer) => {
    const held = (all: Tensor) => slice(all, 0, 0, from.length);
    scope(() => appendToCache(to, layer, held(k), held(from.v[layer])));
  });
  to.length += from.length;
}
