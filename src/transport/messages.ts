/** Typed messages, their numbers, and who may send them; payloads.ts has their bytes. */
import type { z } from 'zod';
import type { ActivationBits } from '../quant/codec.ts';
import { ProtocolError } from '../tensor/errors.ts';
import type * as schemas from './schemas.ts';

export type { Json, JsonObject } from './schemas.ts';

/** Which end of a connection. */
export type Role = 'device' | 'server';

/** Which part of the data a row belongs to. */
export type Split = z.infer<typeof schemas.splitSchema>;

/** The device's greeting: its software, its model, and the FILE bytes it takes at a time. */
export type HelloMessage = { readonly type: 'hello' } & z.infer<typeof schemas.helloSchema>;
/** The server's answer: what computes there, and the data bytes it takes at a time. */
export type WelcomeMessage = { readonly type: 'welcome' } & z.infer<typeof schemas.welcomeSchema>;
/** What is to be trained, on which taps in which code, how, and how many rows will come; new or continued. */
export type JobMessage = { readonly type: 'job' } & z.infer<typeof schemas.jobSchema>;
/** The server takes the job on, under the number that later frames carry; what it holds of it already. */
export type AcceptMessage = { readonly type: 'accept' } & z.infer<typeof schemas.acceptSchema>;
/** The rows and labels of a batch whose taps have all been sent. */
export type BatchMessage = { readonly type: 'batch' } & z.infer<typeof schemas.batchSchema>;
/** The device has sent every row, and may leave. */
export type FinishMessage = { readonly type: 'finish' } & z.infer<typeof schemas.finishSchema>;
/** One step of the server's optimizer. */
export type StepMessage = { readonly type: 'step' } & z.infer<typeof schemas.stepSchema>;
/** One pass of the server over the training rows, and its validation. */
export type EpochMessage = { readonly type: 'epoch' } & z.infer<typeof schemas.epochSchema>;
/** What came of the job, as plain JSON. */
export type ResultMessage = { readonly type: 'result' } & z.infer<typeof schemas.resultSchema>;
/** The end of a job: every file has been sent, or a cancelled job is put away. */
export type DoneMessage = { readonly type: 'done' };
/** Why the sender gives the connection up: a stable code, and a line for people. */
export type ErrorMessage = { readonly type: 'error' } & z.infer<typeof schemas.errorSchema>;
/** What the server did and when, in spans as `trace/` records them. */
export type TraceMessage = { readonly type: 'trace' } & z.infer<typeof schemas.traceSchema>;
/** The device gives the job up; a server that keeps jobs keeps this one. */
export type CancelMessage = { readonly type: 'cancel' } & z.infer<typeof schemas.cancelSchema>;
/** So much of the job is on the server's disk and would outlive it. */
export type SavedMessage = { readonly type: 'saved' } & z.infer<typeof schemas.savedSchema>;
/** The device will not come back for a job: its adapter is written, or it is given up for good. */
export type ForgetMessage = { readonly type: 'forget' } & z.infer<typeof schemas.forgetSchema>;

/** A tile of one layer of one batch: R rows (of a language model, tokens) of C tap kinds of D values, encoded [R,C,D]. */
export interface TapsMessage {
  readonly type: 'taps';
  readonly batch: number;
  readonly split: Split;
  /** Backbone layer, as in JOB's taps.layers. */
  readonly layer: number;
  /** First tap kind, an index into JOB's taps.kinds. */
  readonly kindStart: number;
  /** Tap kinds in this tile, C. */
  readonly kindCount: number;
  /** First row, an index into the batch's rows. */
  readonly rowStart: number;
  /** Rows in this tile, R. */
  readonly rowCount: number;
  /** Values a row and kind, D. */
  readonly width: number;
  readonly bits: ActivationBits;
  /** R * C rows of the activation codec, kind fastest. */
  readonly data: Uint8Array;
}

/** Some consecutive tokens in the loss of one row. */
export interface TokenRun {
  /** Row number, as in BATCH. */
  readonly row: number;
  /** First of its tokens in the loss, from 0. */
  readonly first: number;
  readonly count: number;
}

/**
 * Where labels stay on the device: what a language model's side network makes of R tokens, for the
 * device to hold against their labels.
 */
export interface StatesMessage {
  readonly type: 'states';
  /** Counts these messages of one job and connection, from 0. */
  readonly part: number;
  readonly split: Split;
  /** Whether the gradient is wanted, or the loss alone. */
  readonly gradient: boolean;
  /** Tokens of the whole step, over which the loss is a mean; at least R. */
  readonly tokens: number;
  /** Which tokens, in the order of the states. */
  readonly runs: readonly TokenRun[];
  /** Values a token, D. */
  readonly width: number;
  /** `[R, D]`, finite. */
  readonly states: Float32Array;
}

/** The answer to STATES, part by part in their order. */
export interface GradsMessage {
  readonly type: 'grads';
  readonly part: number;
  /** The part's share of the step's mean loss; where no gradient was wanted, the sum over its tokens. */
  readonly loss: number;
  readonly width: number;
  /** Of the share by the states, `[R, D]`, finite; empty where none was wanted. */
  readonly gradient: Float32Array;
}

/** More bytes the receiver of this may send. */
export interface CreditMessage {
  readonly type: 'credit';
  readonly bytes: number;
}

/** A piece of a file, in order; the last piece carries the file's SHA-256 (hex). */
export interface FileMessage {
  readonly type: 'file';
  readonly name: string;
  readonly offset: number;
  readonly total: number;
  readonly sha256?: string;
  readonly data: Uint8Array;
}

/** One half of a clock exchange; times are milliseconds since 1970, a ping's t1 and t2 are 0. */
export interface ClockMessage {
  readonly type: 'clock';
  readonly phase: 'ping' | 'pong';
  readonly id: number;
  /** When the ping left, by the pinger's clock. */
  readonly t0: number;
  /** When the ping arrived, by the answerer's clock. */
  readonly t1: number;
  /** When the pong left, by the answerer's clock. */
  readonly t2: number;
}

/** Every message there is. */
export type Message =
  | HelloMessage
  | WelcomeMessage
  | JobMessage
  | AcceptMessage
  | TapsMessage
  | BatchMessage
  | StatesMessage
  | GradsMessage
  | CreditMessage
  | StepMessage
  | EpochMessage
  | FinishMessage
  | ResultMessage
  | FileMessage
  | DoneMessage
  | ErrorMessage
  | ClockMessage
  | TraceMessage
  | CancelMessage
  | SavedMessage
  | ForgetMessage;

/** The name of a message's type. */
export type MessageType = Message['type'];

/** The number of each message type on the wire. */
export const MESSAGE_TYPES = {
  hello: 1,
  welcome: 2,
  job: 3,
  accept: 4,
  taps: 5,
  batch: 6,
  credit: 7,
  step: 8,
  epoch: 9,
  finish: 10,
  result: 11,
  file: 12,
  done: 13,
  error: 14,
  clock: 15,
  trace: 16,
  cancel: 17,
  saved: 18,
  forget: 19,
  states: 20,
  grads: 21,
} as const satisfies Record<MessageType, number>;

/** Who may send a type. */
export const MESSAGE_SENDERS: Readonly<Record<MessageType, Role | 'both'>> = {
  hello: 'device',
  welcome: 'server',
  job: 'device',
  accept: 'server',
  taps: 'device',
  batch: 'device',
  credit: 'both',
  step: 'server',
  epoch: 'server',
  finish: 'device',
  result: 'server',
  file: 'both',
  done: 'server',
  error: 'both',
  clock: 'both',
  trace: 'server',
  cancel: 'device',
  saved: 'server',
  forget: 'device',
  states: 'server',
  grads: 'device',
};

/** Frames that credit pays for; all others are small and few. */
export const DATA_TYPES: ReadonlySet<MessageType> = new Set<MessageType>([
  'taps',
  'batch',
  'file',
  'states',
  'grads',
]);

/** Frames whose header names job 0: sent while the ends may differ over the current job. */
export const JOBLESS_TYPES: ReadonlySet<MessageType> = new Set<MessageType>([
  'hello',
  'welcome',
  'job',
  'accept',
  'credit',
  'clock',
  'cancel',
  'error',
  'forget',
]);

const TYPE_BY_NUMBER = new Map<number, MessageType>(
  Object.entries(MESSAGE_TYPES).map(([type, number]) => [number, type as MessageType]),
);

/**
 * The message type of a number on the wire.
 * @throws ProtocolError `E_MESSAGE_TYPE` where there is none.
 */
export function messageTypeOf(number: number): MessageType {
  const type = TYPE_BY_NUMBER.get(number);
  if (type === undefined) {
    throw new ProtocolError(`message: type ${number} is unknown`, 'E_MESSAGE_TYPE');
  }
  return type;
}
