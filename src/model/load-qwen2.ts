import type { Backend } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import type { LlamaConfig } from './llama.ts';
import {
  llamaLayerPlan,
  llamaPlan,
  rotaryConfigFromGguf,
  rotaryConfigFromJson,
} from './load-llama.ts';
import { Qwen2 } from './qwen2.ts';
import { type LoadProgress, loadPlan, vector } from './weight-plan.ts';
import type { GgufFile } from './weights/gguf.ts';
import { HfConfig } from './weights/hf-config.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** Qwen2's configuration out of GGUF metadata. @throws FormatError as `llamaConfigFromGguf` */
export function qwen2ConfigFromGguf(file: GgufFile): LlamaConfig {
  return rotaryConfigFromGguf(file, 'qwen2');
}

/**
 * Qwen2's configuration out of a folder's config.json.
 * @throws FormatError as `llamaConfigFromJson`
 */
export function qwen2ConfigFromJson(json: unknown, name: string): LlamaConfig {
  const config = new HfConfig(json, name);
  expectFullAttention(config);
  const read = rotaryConfigFromJson(config, 'qwen2');
  config.finish(['attention_dropout']);
  return read;
}

/** Refuses layers that see a window alone; where none does, its width says nothing. */
export function expectFullAttention(config: HfConfig): void {
  config.expect('use_sliding_window', false, false);
  config.expectAll('layer_types', 'full_attention');
  config.ignore('sliding_window', 'max_window_layers');
}

/** All weights that `loadQwen2` asks of its source. */
export function qwen2Weights(config: LlamaConfig) {
  const layer = llamaLayerPlan(config);
  return llamaPlan(config, {
    ...layer,
    qProjBias: vector(layer.qProj.shape[0]),
    kProjBias: vector(layer.kProj.shape[0]),
    vProjBias: vector(layer.vProj.shape[0]),
  });
}

/**
 * Builds a Qwen2 from its weights, matrix by matrix.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadQwen2(
  config: LlamaConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Qwen2> {
  const params = await loadPlan(qwen2Weights(config), source, precision, backend, onProgress);
  return new Qwen2(config, params, precision, backend);
}
