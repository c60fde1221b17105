import { z } from 'zod';
import { HEAD_KINDS, SIDE_NAMES } from '../model/index.ts';

/** Hyper-parameters of a job as they travel in JOB and stand in the adapter's config. */
export const trainingOptionsSchema = z.strictObject({
  side: z.enum(SIDE_NAMES),
  /** Trained afterwards on the same cached rows, for the table. */
  baselines: z.array(z.enum(SIDE_NAMES)),
  epochs: z.int().min(1).max(10_000),
  batchSize: z.int().min(1).max(65_536),
  learningRate: z.number().positive().max(10),
  /** Share of all steps over which the rate rises. */
  warmupRatio: z.number().min(0).max(1),
  weightDecay: z.number().min(0),
  maxGradNorm: z.number().positive(),
  rank: z.int().min(1).max(65_536),
  alphaStart: z.number(),
  gateRate: z.number().positive(),
  head: z.enum(HEAD_KINDS),
  /** Share of the side network's taps that are zeroed in a step, and the rest scaled up. */
  tapDropout: z.number().min(0).max(0.99),
  /** Share of a target that is spread evenly over the classes. */
  labelSmoothing: z.number().min(0).max(1),
  /** After the epoch is chosen, train that long on training and validation rows together. */
  refit: z.boolean(),
  seed: z.int().min(0),
});

/** A job's hyper-parameters, checked. */
export type TrainingOptions = z.infer<typeof trainingOptionsSchema>;
