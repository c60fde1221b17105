/**
 * The device's role: the frozen backbone forward, taps pooled and quantized, frames sent. Runs in
 * Node and in a browser.
 * @module
 */
export { calibrate, encodePooled } from './calibration.ts';
export {
  type BatchCounts,
  DeviceEngine,
  disposeAdapter,
  type EncodedBatch,
  type OnLayer,
  type PooledBatch,
  type Probabilities,
  type TapBatch,
  type TokenScores,
} from './device-engine.ts';
export type {
  CalibrationTables,
  ComputeTime,
  EncodingEngine,
  JobOutcome,
  JobProgress,
  JobSpec,
  KeptJob,
  LabelledRow,
  TimedBatch,
} from './job-spec.ts';
export type { LabelExchange, TimedLoss } from './label-answers.ts';
export type { LabelLoss, LabelLossRequest, SampleTokens } from './label-loss.ts';
export { type LossTokens, lossTokens, wordLm } from './lm-wording.ts';
export { prefixIds, shotsPrefix } from './prefix.ts';
export { type DeviceIdentity, greet, newJobId, runJob } from './run-job.ts';
export { type SentKind, TAP_KINDS, type TapKind } from './tap-kinds.ts';
export { checkLayers, type LmWording, outputsOf, shapeOfPlan, type TapPlan } from './tap-plan.ts';
export { poolTaps, takeTokens } from './tap-pooling.ts';
export {
  type ExchangeEstimate,
  estimateExchange,
  estimateTraffic,
  type TrafficEstimate,
} from './traffic.ts';
export {
  surveyTokens,
  type TokenSurvey,
  tailTokens,
  type WordedSample,
  type Wording,
  wordSample,
} from './wording.ts';
