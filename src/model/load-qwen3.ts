import type { Backend } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import type { LlamaConfig } from './llama.ts';
import {
  llamaLayerPlan,
  llamaPlan,
  rotaryConfigFromGguf,
  rotaryConfigFromJson,
} from './load-llama.ts';
import { expectFullAttention } from './load-qwen2.ts';
import { Qwen3 } from './qwen3.ts';
import { type LoadProgress, loadPlan, vector } from './weight-plan.ts';
import type { GgufFile } from './weights/gguf.ts';
import { HfConfig } from './weights/hf-config.ts';
import type { WeightSource } from './weights/weight-source.ts';

/** Qwen3's configuration out of GGUF metadata. @throws FormatError as `llamaConfigFromGguf` */
export function qwen3ConfigFromGguf(file: GgufFile): LlamaConfig {
  return rotaryConfigFromGguf(file, 'qwen3');
}

/**
 * Qwen3's configuration out of a folder's config.json.
 * @throws FormatError as `llamaConfigFromJson`
 */
export function qwen3ConfigFromJson(json: unknown, name: string): LlamaConfig {
  const config = new HfConfig(json, name);
  config.expect('attention_bias', false, false);
  expectFullAttention(config);
  const read = rotaryConfigFromJson(config, 'qwen3');
  config.finish(['attention_dropout']);
  return read;
}

/** All weights that `loadQwen3` asks of its source. */
export function qwen3Weights(config: LlamaConfig) {
  const norms = { qNorm: vector(config.headDim), kNorm: vector(config.headDim) };
  return llamaPlan(config, { ...llamaLayerPlan(config), ...norms });
}

/**
 * Builds a Qwen3 from its weights, matrix by matrix.
 * @throws FormatError when the source lacks a tensor, or has it in another shape or format
 */
export async function loadQwen3(
  config: LlamaConfig,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Qwen3> {
  const params = await loadPlan(qwen3Weights(config), source, precision, backend, onProgress);
  return new Qwen3(config, params, precision, backend);
}
