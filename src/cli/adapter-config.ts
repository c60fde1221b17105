import { z } from 'zod';
import type { ClassificationScores } from '../data/index.ts';
import type { TapPlan } from '../device/index.ts';
import { ADAPTER_FORMAT_VERSION, type AdapterConfig, SIDE_NAMES } from '../model/index.ts';
import { ACTIVATION_GROUP_SIZE } from '../quant/index.ts';
import type { TrainingOptions } from '../server/index.ts';
import type { DeviceInfo } from './device-thread.ts';

const trainedModelSchema = z.object({
  name: z.enum(SIDE_NAMES),
  bestEpoch: z.int(),
  epochs: z.int(),
  validAccuracy: z.number(),
  validLoss: z.number(),
  parameters: z.int(),
  seconds: z.number(),
  bytes: z.int(),
});

/** What the server says of a finished job. */
export const modelRunSchema = z.object({
  backend: z.string(),
  busySeconds: z.number(),
  cache: z.object({ memory: z.number(), spilled: z.number() }),
  backendPeakBytes: z.number(),
  models: z.array(trainedModelSchema).min(1),
});

/** What the server says of one trained model. */
export type TrainedModelInfo = z.infer<typeof trainedModelSchema>;

/** What a run fixed that its adapter has to remember. */
export interface TrainedRun {
  /** As the person named it. */
  readonly model: string;
  readonly plan: TapPlan;
  readonly options: TrainingOptions;
  readonly info: DeviceInfo;
}

/** `adapter_config.json` of one trained model. */
export function adapterConfig(
  run: TrainedRun,
  trained: TrainedModelInfo,
  tested: ClassificationScores | undefined,
): AdapterConfig {
  const { plan, info, options } = run;
  const { side: _side, baselines: _baselines, rank, alphaStart, gateRate, ...training } = options;
  return {
    peft_type: 'MOBILLM_SIDE',
    format_version: ADAPTER_FORMAT_VERSION,
    task_type: 'SEQ_CLS',
    base_model: {
      name: run.model,
      sha256: info.fingerprint,
      ...(info.randomSeed === undefined ? {} : { random_seed: info.randomSeed }),
      architecture: info.architecture,
      hidden_size: info.hiddenSize,
      num_hidden_layers: info.layers,
    },
    weights: info.weights,
    labels: [...plan.labels],
    side: trained.name,
    rank,
    alpha_start: alphaStart,
    gate_rate: gateRate,
    template: plan.template,
    prefix: plan.prefix,
    max_seq_length: plan.maxSeqLength,
    layers: [...plan.layers],
    taps: [...plan.kinds],
    codec: { bits: plan.bits, group_size: ACTIVATION_GROUP_SIZE },
    training,
    metrics: {
      best_epoch: trained.bestEpoch,
      valid_accuracy: trained.validAccuracy,
      valid_loss: trained.validLoss,
      ...(tested && {
        test_accuracy: tested.accuracy,
        test_macro_f1: tested.macroF1,
        test_matthews: tested.matthews,
      }),
    },
  };
}

/** The plan an adapter was trained under, to run it again. */
export function planOfAdapter(config: AdapterConfig): TapPlan {
  return {
    template: config.template,
    labels: config.labels,
    prefix: config.prefix,
    maxSeqLength: config.max_seq_length,
    layers: config.layers,
    kinds: config.taps,
    bits: config.codec.bits,
  };
}
