import { z } from 'zod';
import type { Target } from '../data/index.ts';
import type { TapPlan } from '../device/index.ts';
import { ADAPTER_FORMAT_VERSION, type AdapterConfig } from '../model/adapter.ts';
import { SIDE_NAMES } from '../model/index.ts';
import { ACTIVATION_GROUP_SIZE } from '../quant/index.ts';
import type { TrainingOptions } from '../server/index.ts';
import type { DeviceInfo } from './device-thread.ts';
import type { Scores } from './evaluate.ts';

const trainedModelSchema = z.object({
  name: z.enum(SIDE_NAMES),
  bestEpoch: z.int(),
  epochs: z.int(),
  /** Null where there are no classes. */
  validAccuracy: z.number().nullable(),
  validLoss: z.number(),
  /** Of a language model: the loss before any step. */
  startLoss: z.number().optional(),
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
  /** Of a language model: where its output head came from. */
  head: z.string().max(1000).optional(),
  models: z.array(trainedModelSchema).min(1),
});

/** What the server says of one trained model. */
export type TrainedModelInfo = z.infer<typeof trainedModelSchema>;

/** What a run fixed that its adapter has to remember. */
export interface TrainedRun {
  /** As the person named it. */
  readonly model: string;
  readonly plan: TapPlan;
  /** Of a number that is predicted. */
  readonly target?: Target;
  readonly options: TrainingOptions;
  readonly info: DeviceInfo;
}

/** `adapter_config.json` of one trained model. */
export function adapterConfig(
  run: TrainedRun,
  trained: TrainedModelInfo,
  tested: Scores | undefined,
): AdapterConfig {
  const { plan, target, info, options } = run;
  const {
    side: _side,
    baselines: _baselines,
    rank,
    alphaStart,
    gateRate,
    head,
    ...training
  } = options;
  return {
    peft_type: 'MOBILLM_SIDE',
    format_version: ADAPTER_FORMAT_VERSION,
    task_type: plan.lm ? 'CAUSAL_LM' : 'SEQ_CLS',
    base_model: {
      name: run.model,
      sha256: info.fingerprint,
      ...(info.randomSeed === undefined ? {} : { random_seed: info.randomSeed }),
      architecture: info.architecture,
      hidden_size: info.hiddenSize,
      num_hidden_layers: info.layers,
    },
    precision: info.precision,
    labels: [...plan.labels],
    ...(target && { target }),
    ...(plan.lm && {
      lm: {
        ...{ shape: plan.lm.shape, chat: plan.lm.chat, mask_prompt: plan.lm.maskPrompt },
        ...(plan.lm.shots && {
          shots: plan.lm.shots.map(({ text, label, messages }) => ({
            ...{ text, label },
            ...(messages && { messages: [...messages] }),
          })),
        }),
      },
    }),
    side: trained.name,
    rank,
    alpha_start: alphaStart,
    gate_rate: gateRate,
    head,
    template: plan.template,
    prefix: plan.prefix,
    max_seq_length: plan.maxSeqLength,
    layers: [...plan.layers],
    taps: [...plan.kinds],
    codec: { bits: plan.bits, group_size: ACTIVATION_GROUP_SIZE },
    training,
    metrics: {
      best_epoch: trained.bestEpoch,
      ...(trained.validAccuracy === null ? {} : { valid_accuracy: trained.validAccuracy }),
      valid_loss: trained.validLoss,
      ...(trained.startLoss === undefined ? {} : { base_valid_loss: trained.startLoss }),
      ...(tested && testMetrics(tested)),
    },
  };
}

function testMetrics(tested: Scores): Record<string, number | null> {
  if ('perplexity' in tested) {
    const { perplexity, basePerplexity, tokens } = tested;
    return {
      test_perplexity: perplexity,
      base_test_perplexity: basePerplexity,
      test_tokens: tokens,
    };
  }
  if ('rmse' in tested) {
    const { rmse, pearson, spearman } = tested;
    return { test_rmse: rmse, test_pearson: pearson, test_spearman: spearman };
  }
  const { accuracy, macroF1, matthews } = tested;
  return { test_accuracy: accuracy, test_macro_f1: macroF1, test_matthews: matthews };
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
    ...(config.lm && {
      lm: {
        shape: config.lm.shape,
        chat: config.lm.chat,
        maskPrompt: config.lm.mask_prompt,
        ...(config.lm.shots && { shots: config.lm.shots }),
      },
    }),
  };
}
