import type { Llama3RopeScaling } from '../nn/rotary.ts';
import type { HfConfig } from './hf-config.ts';

/** Base of the rotary frequencies where a file gives none. */
const DEFAULT_THETA = 10_000;

/** What rotary positions are made from. */
export interface RopeOptions {
  readonly ropeTheta: number;
  readonly ropeScaling?: Llama3RopeScaling;
}

/**
 * A config.json's rotary positions: `rope_parameters` of transformers 5, or `rope_theta` and
 * `rope_scaling` of those before.
 * @throws FormatError (E_MODEL_ARCHITECTURE) for a scaling other than Llama 3's, by name; (E_MODEL)
 * for numbers that make no frequencies
 */
export function ropeOptions(config: HfConfig): RopeOptions {
  const parameters = config.nested('rope_parameters');
  const legacyTheta = config.number('rope_theta', DEFAULT_THETA);
  const legacy = config.nested('rope_scaling');
  const ropeTheta = parameters?.number('rope_theta', legacyTheta) ?? legacyTheta;
  const rope = parameters ?? legacy;
  if (!rope) return { ropeTheta };
  const older = rope.oneOf('type', ['default', 'llama3'], 'default');
  const type = rope.oneOf('rope_type', ['default', 'llama3'], older);
  if (type === 'default') {
    rope.finish();
    return { ropeTheta };
  }
  const ropeScaling: Llama3RopeScaling = {
    type,
    factor: rope.number('factor'),
    lowFreqFactor: rope.number('low_freq_factor'),
    highFreqFactor: rope.number('high_freq_factor'),
    originalMaxPositionEmbeddings: rope.count('original_max_position_embeddings'),
  };
  rope.finish();
  const { lowFreqFactor, highFreqFactor } = ropeScaling;
  if (!(highFreqFactor > lowFreqFactor)) {
    throw rope.fail(`high_freq_factor ${highFreqFactor} is not above low_freq_factor`);
  }
  return { ropeTheta, ropeScaling };
}
