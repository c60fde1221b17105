import type { Sample } from '../data/index.ts';
import { monotonicMs } from '../platform/clock.ts';
import { ProtocolError } from '../tensor/index.ts';
import type { Tracer } from '../trace/index.ts';
import {
  type Connection,
  FRAME_HEADER_BYTES,
  type Split,
  STATES_HEADER_BYTES,
  type StatesMessage,
  TOKEN_RUN_BYTES,
} from '../transport/index.ts';
import type { LabelLoss, LabelLossRequest } from './label-loss.ts';

/** What came of a server's states, and when, by `monotonicMs` of this machine. */
export interface TimedLoss extends LabelLoss {
  readonly startMs: number;
  readonly endMs: number;
}

/** What went to and fro because labels stay on the device, so far. */
export interface LabelExchange {
  /** Parts of steps and of validations. */
  readonly parts: number;
  /** Tokens in them, each counted whenever it came. */
  readonly tokens: number;
  /** Bytes of states that came, and of gradients that went. */
  readonly bytes: { readonly down: number; readonly up: number };
  /** Milliseconds that the device computed over them. */
  readonly computeMs: number;
}

/** Whom the answers are of. */
export interface LabelHolder {
  readonly labelLoss: (request: LabelLossRequest) => Promise<TimedLoss> | TimedLoss;
  readonly rows: Readonly<
    Record<Split, readonly { readonly id: number; readonly sample: Sample }[]>
  >;
  /** Of the backbone's hidden states. */
  readonly width: number;
  readonly labelSmoothing: number;
  readonly tracer: Tracer;
  /** Told after every part. */
  readonly onExchange?: (exchange: LabelExchange) => void;
}

/** Answers a server's states where labels stay on the device: one part after the other. */
export class LabelAnswers {
  /** When the last answer has left. */
  sent: Promise<void> = Promise.resolve();
  private readonly connection: Connection;
  private readonly holder: LabelHolder;
  private readonly samples: Readonly<Record<Split, ReadonlyMap<number, Sample>>>;
  private parts = 0;
  private tokens = 0;
  private down = 0;
  private up = 0;
  private computeMs = 0;

  constructor(connection: Connection, holder: LabelHolder) {
    this.connection = connection;
    this.holder = holder;
    const byId = (split: Split) =>
      new Map(holder.rows[split].map(({ id, sample }) => [id, sample]));
    this.samples = { train: byId('train'), valid: byId('valid') };
  }

  /** What went to and fro so far. */
  get exchange(): LabelExchange {
    const { parts, tokens, down, up, computeMs } = this;
    return { parts, tokens, bytes: { down, up }, computeMs };
  }

  /**
   * Computes a part and sends its answer while the next is computed.
   * @throws ProtocolError (E_JOB) for another part than the next one, of another width, or of rows
   *   or tokens that there are not
   */
  async take(message: StatesMessage): Promise<void> {
    const { part, split, runs, states, width, tokens, gradient } = message;
    const { labelLoss, labelSmoothing, tracer, onExchange } = this.holder;
    const refused = (why: string) => new ProtocolError(`states: part ${part}: ${why}`, 'E_JOB');
    if (part !== this.parts) throw refused(`${this.parts} is due`);
    if (width !== this.holder.width)
      throw refused(`its width is ${width}, not ${this.holder.width}`);
    const asked = runs.map(({ row, first, count }) => {
      const sample = this.samples[split].get(row);
      if (!sample) throw refused(`${split} row ${row} is none`);
      return { sample, first, count };
    });
    const request = { runs: asked, states, tokens, gradient, labelSmoothing };
    const computed = await labelLoss(request);
    const { startMs, endMs } = computed;
    const rows = states.length / width;
    tracer.span(`head ${split} ${part}`, 'compute', 'compute', startMs, endMs, { tokens: rows });
    // One answer may be on its way while the next is computed.
    await this.sent;
    this.sent = this.send(part, computed, endMs);
    // Seen by the next `await`; until then a broken line must not count as unhandled.
    this.sent.catch(() => {});
    this.parts++;
    this.tokens += rows;
    this.computeMs += endMs - startMs;
    const head = FRAME_HEADER_BYTES + STATES_HEADER_BYTES;
    this.down += head + TOKEN_RUN_BYTES * runs.length + states.byteLength;
    this.up += head + computed.gradient.byteLength;
    onExchange?.(this.exchange);
  }

  private async send(
    part: number,
    { loss, gradient }: { readonly loss: number; readonly gradient: Float32Array },
    startMs: number,
  ): Promise<void> {
    await this.connection.send({ type: 'grads', part, loss, width: this.holder.width, gradient });
    const bytes = FRAME_HEADER_BYTES + STATES_HEADER_BYTES + gradient.byteLength;
    this.holder.tracer.span(`send gradient ${part}`, 'transfer', 'socket', startMs, monotonicMs(), {
      bytes,
    });
  }
}
