import { z } from 'zod';
import { FormatError } from '../../tensor/index.ts';
import { HEAD_KINDS } from './parallel.ts';
import { SIDE_NAMES } from './registry.ts';

/** Version of the adapter folder's layout; readers refuse any other. 1 had `weights` for `precision`. */
export const ADAPTER_FORMAT_VERSION = 2;

/** A row of a language model's data. */
const shot = z.object({
  text: z.string(),
  label: z.string(),
  messages: z
    .array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() }))
    .optional(),
});

/** `adapter_config.json`: all that is needed to run the adapter, and how it came to be. */
const fields = z.object({
  peft_type: z.literal('MOBILLM_SIDE'),
  format_version: z.literal(ADAPTER_FORMAT_VERSION),
  task_type: z.enum(['SEQ_CLS', 'CAUSAL_LM']),
  base_model: z.object({
    name: z.string(),
    /** SHA-256 of the weights file. */
    sha256: z.string().length(64),
    /** Set when the backbone's weights were random ones made from this seed. */
    random_seed: z.int().optional(),
    architecture: z.string(),
    hidden_size: z.int().positive(),
    num_hidden_layers: z.int().positive(),
  }),
  /** How the backbone ran in training: f32, int8 or int4. */
  precision: z.enum(['f32', 'int8', 'int4']),
  /** Class names; none where a number is predicted, or a language model was tuned. */
  labels: z.array(z.string()),
  /** Of a language model: what its data's rows were, and how prompts become text. */
  lm: z
    .object({
      shape: z.enum(['text', 'prompt', 'messages']),
      chat: z.boolean(),
      mask_prompt: z.boolean(),
      /** Training rows that stand in front of every prompt. */
      shots: z.array(shot).optional(),
    })
    .optional(),
  /** Of a number that is predicted: mean + deviation * output. */
  target: z.object({ mean: z.number(), deviation: z.number().positive() }).optional(),
  side: z.enum(SIDE_NAMES),
  rank: z.int().positive(),
  alpha_start: z.number(),
  gate_rate: z.number().positive(),
  head: z.enum(HEAD_KINDS),
  template: z.string(),
  /** Labelled examples in front of every prompt. */
  prefix: z.string(),
  max_seq_length: z.int().positive(),
  layers: z.array(z.int().min(0)).min(1),
  taps: z.array(z.enum(['last', 'mean', 'template', 'first', 'token'])).min(1),
  codec: z.object({
    bits: z.union([1, 2, 3, 4, 8, 16].map((b) => z.literal(b as 1 | 2 | 3 | 4 | 8 | 16))),
    group_size: z.int().positive(),
  }),
  /** Hyper-parameters of the run. */
  training: z.record(z.string(), z.unknown()),
  /** What the run measured. */
  metrics: z.record(z.string(), z.unknown()),
});

/** As `fields`, and labels, a target or a language model, one of them. */
export const adapterConfigSchema = fields
  .refine(
    ({ labels, target, lm }) =>
      (labels.length === 0) === (target !== undefined || lm !== undefined),
    {
      path: ['labels'],
      message: 'must name the classes, or be empty beside a target or a language model',
    },
  )
  .refine(({ task_type, lm }) => (task_type === 'CAUSAL_LM') === (lm !== undefined), {
    path: ['lm'],
    message: 'must be there in a CAUSAL_LM, and in no other',
  });

/** `adapter_config.json`, checked: how the adapter is built and fed, and how it came to be. */
export type AdapterConfig = z.infer<typeof adapterConfigSchema>;

/**
 * Checks a parsed `adapter_config.json`.
 * @throws FormatError (E_ADAPTER) naming the file and the first key that is wrong
 */
export function parseAdapterConfig(value: unknown, file: string): AdapterConfig {
  const parsed = adapterConfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FormatError(
    `${file}: ${issue.path.join('.') || 'document'}: ${issue.message}`,
    'E_ADAPTER',
  );
}
