/** The order of messages: which state a session is in and what may be sent in it. */
import { ProtocolError } from '../tensor/errors.ts';
import { MESSAGE_SENDERS, type MessageType, type Role } from './messages.ts';

/**
 * new -HELLO-> greeted -WELCOME-> ready -JOB-> offered -ACCEPT-> running -FINISH-> finished
 * -RESULT-> results -DONE-> ready; CANCEL leads from offered and later to cancelled, DONE back.
 * FORGET may stand between jobs, CLOCK anywhere.
 */
export type SessionState =
  | 'new'
  | 'greeted'
  | 'ready'
  | 'offered'
  | 'running'
  | 'finished'
  | 'results'
  | 'cancelled';

const STATES: Record<SessionState, Partial<Record<MessageType, SessionState>>> = {
  new: { hello: 'greeted' },
  greeted: { welcome: 'ready' },
  // A CANCEL that crossed the DONE is for a job that is over.
  ready: { job: 'offered', forget: 'ready', cancel: 'ready', trace: 'ready' },
  offered: { accept: 'running', cancel: 'cancelled', trace: 'offered' },
  running: {
    taps: 'running',
    batch: 'running',
    step: 'running',
    epoch: 'running',
    saved: 'running',
    states: 'running',
    grads: 'running',
    trace: 'running',
    file: 'running',
    finish: 'finished',
    cancel: 'cancelled',
  },
  finished: {
    step: 'finished',
    epoch: 'finished',
    saved: 'finished',
    states: 'finished',
    grads: 'finished',
    trace: 'finished',
    result: 'results',
    cancel: 'cancelled',
  },
  results: { file: 'results', trace: 'results', done: 'ready', cancel: 'cancelled' },
  // What the server sent before it read the CANCEL is still on its way.
  cancelled: {
    accept: 'cancelled',
    step: 'cancelled',
    epoch: 'cancelled',
    saved: 'cancelled',
    states: 'cancelled',
    trace: 'cancelled',
    result: 'cancelled',
    file: 'cancelled',
    done: 'ready',
    cancel: 'cancelled',
  },
};

/**
 * The state after a message.
 * @throws ProtocolError `E_MESSAGE_DIRECTION` where `sender` may never send the type,
 *   `E_MESSAGE_STATE` where it may not now.
 */
export function nextState(state: SessionState, sender: Role, type: MessageType): SessionState {
  const allowed = MESSAGE_SENDERS[type];
  // The device sends its model's output head before its rows, the server adapters at the end.
  const sends = type === 'file' ? (state === 'running' ? 'device' : 'server') : allowed;
  if (sends !== 'both' && sends !== sender) {
    throw new ProtocolError(
      `message ${type.toUpperCase()}: a ${sender} may not send it`,
      'E_MESSAGE_DIRECTION',
    );
  }
  // A device that loads a large model before its HELLO shows by CLOCK that it lives.
  if (type === 'error' || type === 'clock') return state;
  const greeted = state !== 'new' && state !== 'greeted';
  const next = type === 'credit' ? greeted && state : STATES[state][type];
  if (!next) {
    throw new ProtocolError(
      `message ${type.toUpperCase()}: not allowed in state '${state}'`,
      'E_MESSAGE_STATE',
    );
  }
  return next;
}

const DEVICE_MAY_LEAVE: ReadonlySet<SessionState> = new Set(['new', 'finished', 'cancelled']);

/**
 * May an end see the other close in this state without a fault? A device may leave before it has
 * begun and once it has sent every row; a server only between jobs.
 */
export function mayCloseIn(state: SessionState, closer: Role): boolean {
  return state === 'ready' || (closer === 'device' && DEVICE_MAY_LEAVE.has(state));
}
