export * from './backbone.ts';
export { layerMix, linearProbe, type MixParams } from './baselines/mix.ts';
export { Bert, type BertConfig, type BertLayerParams, type BertParams } from './bert.ts';
export { type GenerateOptions, generate, type SamplingOptions, sampleToken } from './generate.ts';
export { Llama, type LlamaConfig, type LlamaLayerParams, type LlamaParams } from './llama.ts';
export { bertConfigFromJson, bertTensorNames, loadBert } from './load-bert.ts';
export { llamaConfigFromGguf, llamaWeightBytes, loadLlama } from './load-llama.ts';
export type { LinearWeight } from './nn/linear.ts';
export {
  type AdamWOptions,
  type AdamWState,
  adamwInit,
  adamwStep,
  type ScheduleOptions,
  warmupCosine,
} from './optim.ts';
export { packedMatrixBytes, packMatrix } from './pack-matrix.ts';
export { familyOfFolder, type OpenedModel, openFolderModel, openGgufModel } from './registry.ts';
export {
  ADAPTER_FORMAT_VERSION,
  type AdapterConfig,
  parseAdapterConfig,
} from './side/adapter-config.ts';
export {
  type AdapterWeights,
  encodeAdapterWeights,
  exportParams,
  type LoadedAdapter,
  loadAdapterWeights,
} from './side/adapter-weights.ts';
export { type HeadParams, headLogits, initHead } from './side/head.ts';
export {
  type ParallelOptions,
  type ParallelParams,
  parallelSide,
  SIDE_RMS_EPS,
} from './side/parallel.ts';
export { createSideModel, SIDE_NAMES, type SideName, type SideOptions } from './side/registry.ts';
export type { SideModel, SideShape } from './side/side-model.ts';
export { type ChannelAffine, TapStatistics } from './side/tap-statistics.ts';
export {
  decodeSample,
  layersToSamples,
  rmsNormRows,
  sampleBytes,
  type TapCodec,
  tapTensors,
} from './side/taps.ts';
export {
  type DecodeStream,
  type TokenizedPair,
  type Tokenizer,
  tokenizerFromGguf,
} from './tokenizer.ts';
export { tokenizerFromJson } from './tokenizer-json.ts';
export { type LoadProgress, WeightLoader } from './weight-loader.ts';
export {
  dequantizableTypes,
  dequantize,
  type GgmlType,
  isDequantizable,
} from './weights/dequantize.ts';
export { type GgufFile, type GgufTensor, type GgufValue, openGguf } from './weights/gguf.ts';
export { ggufWeightSource } from './weights/gguf-source.ts';
export {
  HF_FILES,
  type HfFolder,
  type JsonFile,
  openHfFolder,
  readJson,
} from './weights/hf-folder.ts';
export { randomWeightSource } from './weights/random-source.ts';
export {
  encodeSafetensors,
  type NamedValues,
  openSafetensors,
  type SafetensorsEntry,
  type SafetensorsFile,
  type SafetensorsType,
  safetensorsTypes,
} from './weights/safetensors.ts';
export { safetensorsWeightSource } from './weights/safetensors-source.ts';
export type { StoredMatrix, WeightSource } from './weights/weight-source.ts';
