import { monotonicMs } from '../platform/clock.ts';
import { ProtocolError } from '../tensor/index.ts';
import type { Tracer } from '../trace/index.ts';
import {
  type Connection,
  FRAME_HEADER_BYTES,
  type GradsMessage,
  STATES_HEADER_BYTES,
} from '../transport/index.ts';
import type { LossAnswer, LossRequest } from './device-loss.ts';

/** Where a job's labels stay on the device: what it was asked, and its answers on their way in. */
export class DeviceAnswers {
  private readonly connection: Connection;
  private readonly tracer: Tracer;
  private readonly pass: (answer: LossAnswer) => Promise<void>;
  private readonly fail: (error: ProtocolError) => void;
  /** Parts without an answer, the oldest first. */
  private readonly asked: { readonly sinceMs: number }[] = [];
  private over = false;
  private turn: () => void = () => {};

  /**
   * @param pass hands an answer to the training
   * @param fail ends the job
   */
  constructor(
    connection: Connection,
    tracer: Tracer,
    pass: (answer: LossAnswer) => Promise<void>,
    fail: (error: ProtocolError) => void,
  ) {
    this.connection = connection;
    this.tracer = tracer;
    this.pass = pass;
    this.fail = fail;
  }

  /** Sends a part of a step to the device, which has the labels. */
  ask(request: LossRequest): void {
    this.asked.push({ sinceMs: monotonicMs() });
    this.turn();
    this.connection.send({ ...request, type: 'states' }).catch((error: ProtocolError) => {
      // It would wait for an answer without end; a line that broke is seen where it is read.
      if (error.code === 'E_CREDIT' || error.code === 'E_FRAME_SIZE') this.fail(error);
    });
  }

  /** Takes an answer. @throws ProtocolError (E_JOB) where none, or another, is due */
  async take({ type: _, ...answer }: GradsMessage): Promise<void> {
    const asked = this.asked.shift();
    if (!asked) throw new ProtocolError(`grads: part ${answer.part} was not asked for`, 'E_JOB');
    await this.pass(answer);
    const bytes = FRAME_HEADER_BYTES + STATES_HEADER_BYTES + answer.gradient.byteLength;
    const name = `device part ${answer.part}`;
    this.tracer.span(name, 'transfer', 'device', asked.sinceMs, monotonicMs(), { bytes });
  }

  /**
   * Once all rows have come: reads and takes answers until `end`, and not a message more, which
   * would be of the next job.
   * @throws ProtocolError for any other message, or as `take`
   */
  async takeAll(): Promise<void> {
    while (await this.due()) {
      const message = await this.connection.receive();
      // Whoever waits for the device's end knows of it.
      if (!message || message.type === 'cancel') return;
      if (message.type !== 'grads') {
        throw new ProtocolError(`job: the device sent ${message.type}, GRADS were due`);
      }
      await this.take(message);
    }
  }

  /** The training is over: nothing more will be asked. */
  end(): void {
    this.over = true;
    this.turn();
  }

  /** Waits until the device owes an answer; false once it will owe none. */
  private async due(): Promise<boolean> {
    while (this.asked.length === 0 && !this.over) {
      await new Promise<void>((resolve) => {
        this.turn = resolve;
      });
    }
    return this.asked.length > 0 && !this.over;
  }
}
