/** The JSON messages' bodies, as zod schemas; unknown keys are dropped, everything else is checked. */
import { z } from 'zod';
import { ACTIVATION_BITS, ACTIVATION_GROUP_SIZE, type ActivationBits } from '../quant/codec.ts';

/** A value JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A plain JSON object. */
export type JsonObject = { [key: string]: Json };

const U32_MAX = 2 ** 32 - 1;
const count = z.int().min(0).max(U32_MAX);
const positive = z.int().min(1).max(U32_MAX);
const text = z.string().max(1000);
const name = z.string().min(1).max(200);
const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits');
const jobKey = z.string().regex(/^[0-9a-f]{32}$/, 'must be 32 lower-case hex digits');
const json: z.ZodType<Json> = z.json();
const jsonObject: z.ZodType<JsonObject> = z.record(z.string().max(200), json);
const bits = z.literal(ACTIVATION_BITS as ActivationBits[]);
const distinct = (values: readonly unknown[]) => new Set(values).size === values.length;

/** Which part of the data a row belongs to. */
export const splitSchema = z.enum(['train', 'valid']);

/** HELLO: who the device is and what it holds. */
export const helloSchema = z.object({
  software: name,
  protocol: count,
  model: z.object({
    /** SHA-256 of the model file, hex. */
    fingerprint: sha256Hex,
    architecture: name,
    hiddenSize: positive,
    layers: positive,
    /** In which its matrices are held, and with them its output head. */
    precision: name.optional(),
  }),
  capabilities: z.array(name).max(100),
  /** Bytes of FILE frames the server may have under way to the device. */
  creditWindow: positive,
});

/** WELCOME: who the server is. */
export const welcomeSchema = z.object({
  software: name,
  protocol: count,
  /** What computes there, as a sentence for people. */
  backend: name,
  sessionId: name,
  /** Bytes of TAPS and BATCH frames the device may have under way to the server. */
  creditWindow: positive,
});

/** JOB: what is to be trained, on what, how. `training` is open: the server judges the rest. */
export const jobSchema = z.object({
  /** Chosen at random by the device; whoever knows it may continue the job, or have it forgotten. */
  id: jobKey,
  /** Continue what the server keeps under `id`; else begin. */
  resume: z.boolean(),
  /** Steps of the server between two checkpoints, where it keeps jobs. */
  saveEvery: positive,
  task: z.discriminatedUnion('kind', [
    z
      .object({
        kind: z.literal('classification'),
        classes: positive,
        labels: z.array(text).max(100_000),
      })
      .refine((task) => task.labels.length === task.classes, 'labels must be as many as classes'),
    z.object({ kind: z.literal('regression') }),
    z.object({
      kind: z.literal('lm'),
      /** Tokens of the vocabulary; labels are such. */
      vocab: positive,
      /** Most tokens that a row sends. */
      maxTokens: positive,
      /**
       * The model's output head, which the server asks for where it does not have it; without it
       * labels stay on the device.
       */
      head: z.object({ sha256: sha256Hex, bytes: positive }).optional(),
    }),
  ]),
  taps: z.object({
    /** Backbone layers whose output is sent, 1..L, 0 the embedding, in the side network's order. */
    layers: z.array(count).min(1).max(10_000).refine(distinct, 'layers must be distinct'),
    /** What is sent of a layer: 'last' or 'first' token, 'mean' over tokens, each 'token' of the loss. */
    kinds: z.array(name).min(1).max(255).refine(distinct, 'kinds must be distinct'),
    width: positive,
  }),
  codec: z.object({
    bits,
    groupSize: z.literal(ACTIVATION_GROUP_SIZE),
    /** Per layer, kind and channel [L,C,D]: value = mean + scale * decoded; f16 LE in base64. */
    mean: z.base64(),
    scale: z.base64(),
  }),
  training: z
    .object({
      epochs: positive,
      batchSize: positive,
      learningRate: z.number().positive(),
      weightDecay: z.number().min(0).optional(),
      rank: positive.optional(),
      seed: count,
      /** Which side network. */
      side: name,
    })
    .catchall(json),
  /** Rows the device is going to send. */
  rows: z.object({ train: count, valid: count }),
});

/** ACCEPT: the job is taken on; `jobId` stands in the header of every later frame. */
export const acceptSchema = z.object({
  jobId: positive,
  /** Does the server keep the job on its disk? */
  resumable: z.boolean(),
  /** Batches it holds already; the number of the first that is to be sent. */
  batches: count,
  /** Steps it has made already. */
  step: count,
  /** Of a language model: the device is to send the output head before anything else. */
  sendHead: z.boolean().optional(),
});

/** BATCH: all TAPS of a batch have been sent; here are its rows and labels. */
export const batchSchema = z
  .object({
    batch: count,
    split: splitSchema,
    /** Row numbers in the device's own order. */
    rows: z.array(count).min(1).max(1_000_000),
    /** Tokens that each row sends, of a language model; else each row sends one. */
    counts: z.array(positive).optional(),
    /**
     * Class indices, standardised numbers in a regression, or of each token the next one, none where
     * those stay on the device; the server holds them against JOB.
     */
    labels: z.array(
      z
        .number()
        .min(-(2 ** 31))
        .max(2 ** 31 - 1),
    ),
  })
  .refine(
    ({ rows, counts }) => counts === undefined || counts.length === rows.length,
    'counts must be as many as rows',
  )
  .refine(
    ({ rows, counts, labels }) =>
      (counts !== undefined && labels.length === 0) ||
      labels.length === (counts?.reduce((sum, tokens) => sum + tokens, 0) ?? rows.length),
    'labels must be as many as rows, or their tokens, or none beside counts',
  );

/** FINISH: the device has sent every row. */
export const finishSchema = z.object({ rows: z.object({ train: count, valid: count }) });

/** STEP: one step of the optimizer. */
export const stepSchema = z.object({
  step: count,
  epoch: count,
  batch: count,
  loss: z.number(),
  gradNorm: z.number().min(0),
  /** Milliseconds the step took. */
  ms: z.number().min(0),
  /** Batches received and not yet stepped on. */
  queueDepth: count,
});

/** EPOCH: one pass over the training rows; the valid figures are null without valid rows. */
export const epochSchema = z.object({
  epoch: count,
  trainLoss: z.number(),
  validLoss: z.number().nullable(),
  validAccuracy: z.number().min(0).max(1).nullable(),
});

/** RESULT: what came of the job: baselines, best epoch, times; open. */
export const resultSchema = z.object({ metrics: jsonObject });

/** DONE: every file has been sent, or a cancelled job is put away. */
export const doneSchema = z.object({});

/** ERROR: the end of the connection, and why. */
export const errorSchema = z.object({
  code: z.string().regex(/^E_[A-Z0-9_]{1,60}$/, 'must be a stable error code'),
  message: z.string().max(4000),
});

/** TRACE: what the server did and when, spans as trace/ records them; the device checks them. */
export const traceSchema = z.object({ events: z.array(jsonObject).max(100_000) });

/** CANCEL: the device gives the job up, for now where the server keeps it. */
export const cancelSchema = z.object({ reason: text });

/** SAVED: a checkpoint is on the server's disk: so many batches, so many steps. */
export const savedSchema = z.object({ batches: count, step: count });

/** FORGET: the device will not come back for the job of that id. */
export const forgetSchema = z.object({ id: jobKey });
