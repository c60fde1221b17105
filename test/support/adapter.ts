import {
  type AdapterConfig,
  createSideModel,
  encodeAdapterWeights,
  exportParams,
} from '../../src/model/index.ts';
import { cpuBackend, random, scope } from '../../src/tensor/index.ts';
import { channelAffine } from './side.ts';

/** The configuration of a small adapter: two layers of width 5, two kinds, three classes. */
export const ADAPTER_CONFIG: AdapterConfig = {
  peft_type: 'MOBILLM_SIDE',
  format_version: 2,
  task_type: 'SEQ_CLS',
  base_model: {
    name: 'tiny',
    sha256: 'ab'.repeat(32),
    architecture: 'llama',
    hidden_size: 5,
    num_hidden_layers: 2,
  },
  precision: 'int8',
  labels: ['a', 'b', 'c'],
  side: 'parallel',
  rank: 3,
  alpha_start: 0,
  gate_rate: 1,
  head: 'dense',
  template: '{text}\nTopic:',
  prefix: '',
  max_seq_length: 32,
  layers: [1, 2],
  taps: ['last', 'mean'],
  codec: { bits: 4, group_size: 64 },
  training: { epochs: 2, seed: 0 },
  metrics: { best_epoch: 1, valid_accuracy: 0.5 },
};

/** Fresh weights, in a safetensors file, of the adapter that a configuration describes. */
export function freshAdapterWeights(config: AdapterConfig, seed = 1): Uint8Array {
  const shape = {
    layers: config.layers.length,
    width: config.base_model.hidden_size,
    kinds: config.taps.length,
    classes: config.labels.length,
  };
  const { rank, alpha_start: alphaStart, gate_rate: gateRate, head } = config;
  const model = createSideModel(config.side, shape, {
    rank,
    alphaStart,
    gateRate,
    head,
    tapDropout: 0,
  });
  return scope(() =>
    encodeAdapterWeights(
      {
        params: exportParams(model.init(random(seed), cpuBackend())),
        standardizer: channelAffine(shape, seed),
        calibration: channelAffine(shape, seed + 1),
      },
      model,
    ),
  );
}
