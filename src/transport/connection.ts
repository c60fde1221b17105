/** A connection: typed messages in order over a channel, under credit, with one typed end. */
import { ProtocolError } from '../tensor/errors.ts';
import { type Channel, CLOSE_FAULT, CLOSE_NORMAL, CLOSE_VERSION, closeFault } from './channel.ts';
import {
  type ConnectionLimits,
  type ConnectionOptions,
  withDefaults,
} from './connection-options.ts';
import { ReceiveCredit, SendCredit } from './flow.ts';
import {
  checkPayloadSize,
  encodeFrame,
  FRAME_HEADER_BYTES,
  type Frame,
  FrameDecoder,
} from './frames.ts';
import { type ClockSample, Heartbeat, KEEPALIVE_ID, Pings } from './heartbeat.ts';
import { Inbox } from './inbox.ts';
import {
  type ClockMessage,
  DATA_TYPES,
  JOBLESS_TYPES,
  MESSAGE_TYPES,
  type Message,
  messageTypeOf,
  type Role,
} from './messages.ts';
import { encodePayload, parseMessage, payloadLimit } from './payloads.ts';
import { mayCloseIn, nextState, type SessionState } from './session.ts';

/** Bytes that went one way. */
export interface ByteCount {
  /** Payloads alone. */
  readonly payload: number;
  /** Payloads and frame headers; what the socket adds is not counted. */
  readonly total: number;
}

const MAX_ERROR_TEXT = 2000;

/** How long a channel that takes nothing any more may take to say why, in ms. */
const LOST_GRACE_MS = 500;

/**
 * One end of a session. Every fault, of the other end, the network or a timeout, ends it with one
 * ProtocolError, which all pending and later calls reject with.
 */
export class Connection {
  readonly role: Role;
  readonly remote: string;
  /** Resolves at the end, with the fault or, for an orderly end, undefined. Never rejects. */
  readonly closed: Promise<ProtocolError | undefined>;
  /** Called when a CANCEL arrives, ahead of its turn among the messages. */
  onCancel: ((reason: string) => void) | undefined;

  readonly #channel: Channel;
  readonly #options: ConnectionLimits;
  readonly #decoder: FrameDecoder;
  readonly #sendCredit = new SendCredit();
  readonly #receiveCredit = new ReceiveCredit();
  readonly #inbox: Inbox;
  readonly #pings = new Pings();
  readonly #heartbeat: Heartbeat;
  #state: SessionState = 'new';
  #job = 0;
  #sendSequence = 0;
  #receiveSequence = 0;
  #sent = { payload: 0, total: 0 };
  #received = { payload: 0, total: 0 };
  #tail: Promise<unknown> = Promise.resolve();
  /** Sends that wait for their turn. */
  #sending = 0;
  /** Sends of an older generation were dropped by a CANCEL. */
  #generation = 0;
  #end: { error: ProtocolError | undefined } | undefined;
  #lost: ReturnType<typeof setTimeout> | undefined;
  #resolveClosed: (error: ProtocolError | undefined) => void = () => {};

  constructor(channel: Channel, options: ConnectionOptions) {
    this.role = options.role;
    this.remote = options.remote ?? `the ${this.#peer}`;
    this.#channel = channel;
    this.#options = withDefaults(options);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const { maxPayload } = this.#options;
    this.#decoder = new FrameDecoder((type) => payloadLimit(messageTypeOf(type), maxPayload));
    this.#inbox = new Inbox(this.#options.maxQueuedBytes, (bytes) => this.#grant(bytes));
    this.#heartbeat = new Heartbeat(
      this.#options.pingIntervalMs,
      this.#options.idleTimeoutMs,
      () => this.#keepAlive(),
      (ms) => this.fail('E_IDLE_TIMEOUT', `${this.remote}: nothing heard for ${Math.round(ms)} ms`),
    );
    channel.onClose((code, reason) => this.#onClose(code, reason));
    channel.onMessage((bytes) => this.#onBytes(bytes));
  }

  /** Where the session stands, in the order of what this end has sent and received. */
  get state(): SessionState {
    return this.#state;
  }

  /** Bytes handed to the channel. */
  get bytesSent(): ByteCount {
    return { ...this.#sent };
  }

  /** Bytes of whole frames received. */
  get bytesReceived(): ByteCount {
    return { ...this.#received };
  }

  /** Bytes of data frames that may be sent without waiting. */
  get creditAvailable(): number {
    return this.#sendCredit.available;
  }

  /** Bytes of the largest data frame, header included, that the other end's window takes. */
  get largestDataFrame(): number {
    return this.#sendCredit.largest;
  }

  /** Messages received and not yet taken. */
  get queued(): number {
    return this.#inbox.length;
  }

  /** The fault that ended the connection. */
  get error(): ProtocolError | undefined {
    return this.#end?.error;
  }

  /**
   * Sends a message after those before it; resolves when it is handed to the channel, which for
   * TAPS, BATCH and FILE means under credit. Its data must not change until then.
   * @throws ProtocolError (as a rejection): `E_MESSAGE_FORMAT`, `E_MESSAGE_DIRECTION`,
   *   `E_MESSAGE_STATE`, `E_FRAME_SIZE`, `E_CREDIT` where the message is at fault and the
   *   connection lives on; `E_CANCELLED` where a CANCEL overtook it; else what ended the connection.
   */
  async send(message: Message): Promise<void> {
    this.#checkOpen();
    const { type } = message;
    const parts = encodePayload(message);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const limit = payloadLimit(type, this.#options.maxPayload);
    checkPayloadSize(MESSAGE_TYPES[type], length, limit);
    this.#state = nextState(this.#state, this.role, type);
    if (type === 'cancel') {
      // What waits for credit is of no use any more, and must not hold the CANCEL up.
      this.#generation++;
      this.#sendCredit.abort(overtaken());
    }
    const cost = DATA_TYPES.has(type) ? FRAME_HEADER_BYTES + length : 0;
    const urgent = type === 'credit' || type === 'clock' || type === 'error';
    if (urgent || (this.#sending === 0 && !this.#full && this.#sendCredit.tryTake(cost))) {
      await this.#hand(message, parts);
      return;
    }
    const generation = this.#generation;
    const turn = this.#tail.then(async () => {
      this.#checkOpen();
      const droppable = cost > 0 || type === 'finish';
      if (droppable && generation !== this.#generation) throw overtaken();
      await this.#sendCredit.take(cost);
      await this.#channelRoom();
      if (droppable && generation !== this.#generation) {
        this.#sendCredit.grant(cost);
        throw overtaken();
      }
      await this.#hand(message, parts);
    });
    this.#sending++;
    this.#tail = turn.catch(() => {}).then(() => this.#sending--);
    await turn;
  }

  /**
   * The next message, undefined after an orderly end. Asking for the next one says that the last
   * has been dealt with: its bytes are then granted to the other end again.
   * CREDIT, CLOCK and ERROR never show up here.
   * @throws ProtocolError (as a rejection): what ended the connection, after all messages before.
   */
  receive(): Promise<Message | undefined> {
    return this.#inbox.receive();
  }

  /** The messages until an orderly end, as `receive` gives them. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, void> {
    for (;;) {
      const message = await this.receive();
      if (!message) return;
      yield message;
    }
  }

  /** Asks for the other end's time, once. */
  async ping(): Promise<ClockSample> {
    const { id, sample } = this.#pings.begin();
    await this.send({ type: 'clock', phase: 'ping', id, t0: this.#options.now(), t1: 0, t2: 0 });
    return sample;
  }

  /** Ends the connection in order, after everything sent so far. */
  async close(): Promise<void> {
    if (this.#end) return;
    await this.#tail;
    this.#finish(undefined, CLOSE_NORMAL, '');
  }

  /**
   * Ends the connection with an ERROR frame, at once; the other end sees a ProtocolError with this
   * code and message, and so do this end's pending calls.
   */
  fail(code: string, message: string): void {
    this.#abort(new ProtocolError(message, code));
  }

  get #peer(): Role {
    return this.role === 'device' ? 'server' : 'device';
  }

  get #full(): boolean {
    return this.#channel.bufferedAmount > this.#options.highWaterMark;
  }

  #checkOpen(): void {
    if (!this.#end) return;
    throw (
      this.#end.error ?? new ProtocolError(`connection to ${this.remote}: it is closed`, 'E_CLOSED')
    );
  }

  /** Writes a frame; where the channel is gone, rejects with what its close says. */
  async #hand(message: Message, parts: readonly Uint8Array[]): Promise<void> {
    try {
      this.#write(message, parts);
    } catch (error) {
      throw (await this.closed) ?? error;
    }
  }

  /** Hands one frame over; nothing between the sequence number and the channel may wait. */
  #write(message: Message, parts: readonly Uint8Array[]): void {
    this.#checkOpen();
    const type = MESSAGE_TYPES[message.type];
    const job = JOBLESS_TYPES.has(message.type) ? 0 : this.#job;
    const frame = encodeFrame({ type, job, sequence: this.#sendSequence }, parts, 2 ** 32 - 1);
    // The windows open before the frame leaves: its answer may use them.
    if (message.type === 'hello' || message.type === 'welcome') {
      this.#receiveCredit.open(message.creditWindow);
    } else if (message.type === 'accept') this.#job = message.jobId;
    try {
      this.#channel.send(frame);
    } catch (cause) {
      const error = new ProtocolError(`connection to ${this.remote}: it is gone`, 'E_CLOSED', {
        cause,
      });
      // A send may meet a close that is still on its way here; where that is in order, so is this.
      if (mayCloseIn(this.#state, this.#peer)) this.#finish(undefined, CLOSE_NORMAL, '');
      else this.#lost ??= setTimeout(() => this.#finish(error, CLOSE_FAULT, ''), LOST_GRACE_MS);
      throw error;
    }
    this.#sendSequence = (this.#sendSequence + 1) >>> 0;
    this.#sent.payload += frame.length - FRAME_HEADER_BYTES;
    this.#sent.total += frame.length;
  }

  /** Waits until the channel holds little; sockets of browsers tell no other way than by asking. */
  async #channelRoom(): Promise<void> {
    let wait = 1;
    while (!this.#end && this.#full) {
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(2 * wait, 20);
    }
  }

  #onBytes(bytes: Uint8Array): void {
    if (this.#end) return;
    this.#heartbeat.heard();
    try {
      this.#decoder.push(bytes, (frame) => {
        if (!this.#end) this.#onFrame(frame);
      });
    } catch (error) {
      this.#abort(
        error instanceof ProtocolError
          ? error
          : new ProtocolError(`connection to ${this.remote}: ${error}`, 'E_PROTOCOL', {
              cause: error,
            }),
      );
    }
  }

  #onFrame(frame: Frame): void {
    const frameBytes = FRAME_HEADER_BYTES + frame.payload.length;
    this.#received.payload += frame.payload.length;
    this.#received.total += frameBytes;
    if (frame.sequence !== this.#receiveSequence) {
      throw new ProtocolError(
        `frame: sequence ${frame.sequence} where ${this.#receiveSequence} was due`,
        'E_FRAME_SEQUENCE',
      );
    }
    this.#receiveSequence = (this.#receiveSequence + 1) >>> 0;
    const type = messageTypeOf(frame.type);
    // Order and credit before the payload is looked at.
    const state = nextState(this.#state, this.#peer, type);
    const job = JOBLESS_TYPES.has(type) ? 0 : this.#job;
    if (frame.job !== job) {
      throw new ProtocolError(
        `message ${type.toUpperCase()}: of job ${frame.job}, the current one is ${job}`,
        'E_MESSAGE_STATE',
      );
    }
    if (DATA_TYPES.has(type)) this.#receiveCredit.received(frameBytes);
    const message = parseMessage(frame.type, frame.payload);
    this.#state = state;
    switch (message.type) {
      case 'credit':
        this.#sendCredit.grant(message.bytes);
        return;
      case 'clock':
        this.#onClock(message);
        return;
      case 'error':
        this.#finish(
          new ProtocolError(`${this.remote} gave up: ${message.message}`, message.code),
          CLOSE_FAULT,
          message.code,
        );
        return;
      case 'hello':
      case 'welcome':
        this.#sendCredit.open(message.creditWindow);
        break;
      case 'accept':
        this.#job = message.jobId;
        break;
      case 'cancel':
        this.#inbox.dropData();
        this.onCancel?.(message.reason);
        break;
    }
    this.#inbox.push({ message, frameBytes, data: DATA_TYPES.has(type) });
  }

  #grant(consumed: number): void {
    const bytes = this.#receiveCredit.consumed(consumed);
    if (bytes > 0 && !this.#end) {
      this.#answer({ type: 'credit', bytes });
    }
  }

  #onClock(message: ClockMessage): void {
    if (message.phase === 'pong') {
      this.#pings.answered(message, this.#options.now());
      return;
    }
    // Who asks without reading the answers gets none.
    if (this.#full) return;
    const now = this.#options.now();
    this.#answer({ ...message, phase: 'pong', t1: now, t2: now });
  }

  #answer(message: Message): void {
    try {
      this.#write(message, encodePayload(message));
    } catch {
      // The channel is gone; its close is on its way, or has been seen.
    }
  }

  #keepAlive(): void {
    const t0 = this.#options.now();
    // A send that fails here has ended the connection, and that is known where it matters.
    this.send({ type: 'clock', phase: 'ping', id: KEEPALIVE_ID, t0, t1: 0, t2: 0 }).catch(() => {});
  }

  #onClose(code: number, reason: string): void {
    if (this.#end) return;
    try {
      this.#decoder.end();
    } catch (error) {
      this.#finish(error as ProtocolError, CLOSE_FAULT, '');
      return;
    }
    if (code === CLOSE_NORMAL && mayCloseIn(this.#state, this.#peer)) {
      this.#finish(undefined, code, '');
      return;
    }
    const detail = `in state '${this.#state}', code ${code}${reason ? `, ${reason}` : ''}`;
    const hint =
      this.role === 'device' && code !== CLOSE_VERSION
        ? "; check the network and the server's log, then run again"
        : '';
    const text = `connection to ${this.remote}: closed ${detail}${hint}`;
    this.#finish(closeFault(text, code), code, '');
  }

  /** A fault seen here: tell the other end, then end. */
  #abort(error: ProtocolError): void {
    if (this.#end) return;
    const message = {
      type: 'error',
      code: /^E_[A-Z0-9_]{1,60}$/.test(error.code) ? error.code : 'E_PROTOCOL',
      message: error.message.slice(0, MAX_ERROR_TEXT),
    } as const;
    try {
      this.#write(message, encodePayload(message));
    } catch {
      // The channel is gone; the fault stands.
    }
    this.#finish(error, CLOSE_FAULT, error.code);
  }

  #finish(error: ProtocolError | undefined, code: number, reason: string): void {
    if (this.#end) return;
    this.#end = { error };
    clearTimeout(this.#lost);
    this.#heartbeat.stop();
    this.#channel.close(code, reason);
    const gone =
      error ?? new ProtocolError(`connection to ${this.remote}: it is closed`, 'E_CLOSED');
    this.#sendCredit.abort(gone);
    this.#pings.abort(gone);
    this.#inbox.end(error);
    this.#resolveClosed(error);
  }
}

function overtaken(): ProtocolError {
  return new ProtocolError('send: a CANCEL overtook the message', 'E_CANCELLED');
}
