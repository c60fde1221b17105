/**
 * The server's role: sessions, the activation cache, and the training of side networks in a thread
 * of their own. Node only.
 * @module
 */
export { ActivationCache, type ActivationCacheOptions } from './activation-cache.ts';
export { type Browser, findChromium, openBrowser } from './chromium.ts';
export type { LossAnswer, LossRequest } from './device-loss.ts';
export { type FoundHead, type HeadSource, HeadStore } from './head-store.ts';
export type { JobProgress, JobStateOptions } from './job-state.ts';
export { type JobLease, JobStore } from './job-store.ts';
export type { RowScore } from './objective.ts';
export {
  type BackendChoice,
  type OpenedBackend,
  openBackend,
  probeBackend,
  SERVER_BACKENDS,
  type ServerBackend,
} from './server-backend.ts';
export { runSession, type SessionLog, type SessionOptions } from './session.ts';
export { SideTrainer } from './side-trainer.ts';
export type {
  EngineJob,
  EnginePart,
  FitValues,
  ScoresCall,
  StepEngine,
  StepsCall,
  StepsResult,
} from './step-engine.ts';
export type { FitSnapshot, TrainerSnapshot } from './trainer-snapshot.ts';
export type {
  ReceivedBatch,
  Split,
  TrainedModel,
  TrainerEvent,
  TrainingJob,
} from './training-job.ts';
export { type TrainingOptions, trainingOptionsSchema } from './training-options.ts';
export {
  type CacheBytes,
  type ThreadBackend,
  type TimedEvent,
  TrainingThread,
} from './training-thread.ts';
