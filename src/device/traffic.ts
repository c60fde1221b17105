import { encodedLength } from '../quant/index.ts';
import { FRAME_HEADER_BYTES } from '../transport/frames.ts';
import type { Split } from '../transport/index.ts';
import { TAPS_HEADER_BYTES } from '../transport/payloads.ts';
import { MAX_TILE_BYTES } from './send-rows.ts';
import type { TapPlan } from './tap-plan.ts';

/** What a job will send to the server, in bytes. */
export interface TrafficEstimate {
  /** Rows of activations and their frames, train and valid; exact. */
  readonly activations: number;
  /** Row numbers and class indices; exact, of next tokens about. */
  readonly labels: number;
  /**
   * JOB: class names, hyper-parameters, the codec's calibration; about. Of a language model its output
   * head, too, which a server that has it does not ask for.
   */
  readonly job: number;
  /**
   * All of it. Everything is sent in the first epoch, nothing in any later one, but for what
   * `estimateExchange` tells of.
   */
  readonly total: number;
  /** Activations and labels of one sample, its share of the frames with it. */
  readonly perSample: number;
}

/** What goes to and fro because labels stay on the device, in bytes. */
export interface ExchangeEstimate {
  /** States, over all epochs: validation rows once more, before any step. */
  readonly down: number;
  /** Their gradients, over all epochs. */
  readonly up: number;
}

/** Headers of one part's two frames for each token, about: parts are of some hundred tokens. */
const EXCHANGE_BYTES_A_TOKEN = 1;

/**
 * What training with labels on the device sends beside the activations, about.
 * @param counts tokens in the loss of each row
 */
export function estimateExchange(
  counts: Readonly<Record<Split, readonly number[]>>,
  width: number,
  epochs: number,
): ExchangeEstimate {
  const tokensOf = (split: Split) => counts[split].reduce((sum, count) => sum + count, 0);
  const [trained, validated] = [epochs * tokensOf('train'), (epochs + 1) * tokensOf('valid')];
  const token = 4 * width + EXCHANGE_BYTES_A_TOKEN;
  return { down: token * (trained + validated), up: token * trained };
}

/** HELLO, FINISH and the JSON of JOB beside class names, layers and calibration, about. */
const JOB_REST_BYTES = 1200;

/**
 * What training under a plan sends, without running anything.
 * @param width of the backbone's hidden states.
 * @param rows class indices of the rows, in any order.
 * @param lm of a language model: tokens in the loss of each row, those of its vocabulary, and whether
 *   labels, and with them its head, stay on the device
 */
export function estimateTraffic(
  plan: TapPlan,
  width: number,
  batchSize: number,
  rows: { readonly train: readonly number[]; readonly valid: readonly number[] },
  lm?: {
    readonly counts: Readonly<Record<Split, readonly number[]>>;
    readonly vocab: number;
    readonly labelsOnDevice?: boolean;
  },
): TrafficEstimate {
  const layers = plan.layers.length;
  const rowBytes = encodedLength(plan.kinds.length, width, plan.bits);
  const tileRows = Math.max(1, Math.floor(MAX_TILE_BYTES / rowBytes));
  let [activations, labels, batch] = [0, 0, 0];
  for (const split of ['train', 'valid'] as const) {
    for (let start = 0; start < rows[split].length; start += batchSize) {
      const part = rows[split].slice(start, start + batchSize);
      const counts = lm?.counts[split].slice(start, start + batchSize);
      const sent = counts?.reduce((sum, tokens) => sum + tokens, 0) ?? part.length;
      const frames = layers * Math.ceil(sent / tileRows);
      activations += layers * sent * rowBytes + frames * (FRAME_HEADER_BYTES + TAPS_HEADER_BYTES);
      const next = lm && Array(lm.labelsOnDevice ? 0 : sent).fill(lm.vocab - 1);
      const numbers = part.map((_, i) => start + i);
      const body = { batch: batch++, split, rows: numbers, labels: next ?? part, counts };
      labels += FRAME_HEADER_BYTES + JSON.stringify(body).length;
    }
  }
  const names = new TextEncoder().encode(JSON.stringify(plan.labels)).length;
  // Two f16 a channel, in base64.
  const calibration = 2 * 4 * Math.ceil((2 * layers * plan.kinds.length * width) / 3);
  const head = lm && !lm.labelsOnDevice ? lm.vocab * encodedLength(1, width, 8) : 0;
  const job = JOB_REST_BYTES + names + calibration + JSON.stringify(plan.layers).length + head;
  const samples = rows.train.length + rows.valid.length;
  return {
    activations,
    labels,
    job,
    total: activations + labels + job,
    perSample: (activations + labels) / samples,
  };
}
