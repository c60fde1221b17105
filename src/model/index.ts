export * from './backbone.ts';
export { layerMix, linearProbe, type MixParams } from './baselines/mix.ts';
export { Bert, type BertConfig, type BertLayerParams, type BertParams } from './bert.ts';
export { type ChatMessage, type ChatTemplate, chatTemplate } from './chat-template.ts';
export {
  type GenerateOptions,
  generate,
  type HiddenTuner,
  nextLogits,
  type SamplingOptions,
  sampleToken,
} from './generate.ts';
export { Gpt2, type Gpt2Config, type Gpt2LayerParams, type Gpt2Params } from './gpt2.ts';
export {
  type Heads,
  Llama,
  type LlamaConfig,
  type LlamaLayerParams,
  type LlamaParams,
} from './llama.ts';
export { bertConfigFromJson, bertTensorNames, bertWeights, loadBert } from './load-bert.ts';
export {
  gpt2ConfigFromGguf,
  gpt2ConfigFromJson,
  gpt2GgufName,
  gpt2TensorNames,
  gpt2Weights,
  isGpt2Transposed,
  loadGpt2,
} from './load-gpt2.ts';
export {
  llamaConfigFromGguf,
  llamaConfigFromJson,
  llamaGgufName,
  llamaTensorNames,
  llamaWeights,
  loadLlama,
} from './load-llama.ts';
export { loadOpt, optConfigFromJson, optTensorNames, optWeights } from './load-opt.ts';
export {
  loadQwen2,
  qwen2ConfigFromGguf,
  qwen2ConfigFromJson,
  qwen2Weights,
} from './load-qwen2.ts';
export {
  loadQwen3,
  qwen3ConfigFromGguf,
  qwen3ConfigFromJson,
  qwen3Weights,
} from './load-qwen3.ts';
export { ACTIVATION_NAMES, ACTIVATIONS, type ActivationName } from './nn/activation.ts';
export { Decoder, type DecoderConfig, type DecoderLayout } from './nn/decoder.ts';
export { FrozenModel, type LayeredParams } from './nn/frozen-model.ts';
export type { LinearWeight } from './nn/linear.ts';
export { type FinalNorm, finalNorm, type OutputHead } from './nn/output-head.ts';
export {
  type Llama3RopeScaling,
  rotaryFrequencies,
  scaleLlama3,
} from './nn/rotary.ts';
export {
  LayerStream,
  type Layers,
  type StreamedEntry,
  StreamedMatrix,
  type TableWeight,
  type WeightReader,
} from './nn/weight-stream.ts';
export {
  folderDialogue,
  folderTokenizer,
  type ModelDialogue,
  type OpenedModel,
  openFolderModel,
  openGgufModel,
} from './open-model.ts';
export {
  OPT_POSITION_OFFSET,
  Opt,
  type OptConfig,
  type OptLayerParams,
  type OptParams,
} from './opt.ts';
export {
  type AdamWOptions,
  type AdamWState,
  adamwInit,
  adamwStep,
  type ScheduleOptions,
  warmupCosine,
} from './optim.ts';
export { packedMatrixBytes, packMatrix } from './pack-matrix.ts';
export {
  type ByteSink,
  type Digest,
  type PackedContent,
  PackedFile,
  PackedWriter,
  packedFileName,
  packedWeights,
  packingWeights,
  streamedWeights,
} from './packed-file.ts';
export { Qwen2, type Qwen2LayerParams } from './qwen2.ts';
export { Qwen3, type Qwen3LayerParams } from './qwen3.ts';
export {
  architectures,
  configOfFolder,
  modelOfFolder,
  modelOfGguf,
  type StoredModel,
} from './registry.ts';
export type { AdapterConfig } from './side/adapter-config.ts';
export {
  type AdapterWeights,
  encodeAdapterWeights,
  exportParams,
  type LoadedAdapter,
  loadAdapterWeights,
} from './side/adapter-weights.ts';
export { type HeadParams, headLogits, initHead } from './side/head.ts';
export { type KernelParams, kernelHead, MOST_KERNEL_ROWS } from './side/kernel.ts';
export { type LadderParams, ladderSide, type RungParams } from './side/ladder.ts';
export {
  type CodedLmHead,
  decodeLmHead,
  encodeLmHead,
  type LmHead,
  lmLogits,
  lmLoss,
  openLmHead,
  tokenLosses,
} from './side/lm-head.ts';
export { partTokens } from './side/lm-parts.ts';
export { lmTuner } from './side/lm-tuner.ts';
export {
  type AdapterParams,
  HEAD_KINDS,
  type HeadKind,
  type ParallelOptions,
  type ParallelParams,
  parallelSide,
  SIDE_RMS_EPS,
} from './side/parallel.ts';
export { type QuantizedSideParams, quantizedSide } from './side/quantized-side.ts';
export {
  createSideModel,
  LM_SIDE_NAMES,
  SIDE_NAMES,
  type SideName,
  type SideOptions,
} from './side/registry.ts';
export type { SideModel, SideShape, Solved } from './side/side-model.ts';
export { type ChannelAffine, TapStatistics } from './side/tap-statistics.ts';
export {
  decodeSample,
  layersToSamples,
  rmsNormRows,
  sampleBytes,
  type TapCodec,
  type TapDropout,
  tapTensors,
} from './side/taps.ts';
export { StringTable } from './string-table.ts';
export {
  type DecodeStream,
  type TokenizedPair,
  type Tokenizer,
  tokenizerFromGguf,
} from './tokenizer.ts';
export { type NamedTokens, tokenizerFromJson } from './tokenizer-json.ts';
export {
  type Loaded,
  type LoadProgress,
  loadPlan,
  type MatrixSpec,
  type PlainSpec,
  plannedBytes,
  plannedWeights,
  type WeightPlan,
} from './weight-plan.ts';
export {
  dequantizableTypes,
  dequantize,
  type GgmlType,
  isDequantizable,
} from './weights/dequantize.ts';
export { type GgufFile, type GgufTensor, type GgufValue, openGguf } from './weights/gguf.ts';
export { type GgufLayout, ggufWeightSource } from './weights/gguf-source.ts';
export {
  type FolderReader,
  HF_FILES,
  type HfFolder,
  type JsonFile,
  openHfFolder,
  readFolderConfig,
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
export { type CheckpointLayout, safetensorsWeightSource } from './weights/safetensors-source.ts';
export type { StoredMatrix, StreamedWeights, WeightSource } from './weights/weight-source.ts';
