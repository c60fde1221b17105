import {
  BackendError,
  DisposedError,
  DTypeError,
  FormatError,
  MobillmError,
  ProtocolError,
  ShapeError,
  UsageError,
} from '../tensor/errors.ts';
import type { WorkerPort } from './worker.ts';

/** A call to the other thread, and what comes back: events while it runs, then one outcome. */
type RpcMessage =
  | { readonly kind: 'call'; readonly id: number; readonly method: string; readonly args: unknown }
  | { readonly kind: 'event'; readonly id: number; readonly event: unknown }
  | { readonly kind: 'result'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: WireError };

interface WireError {
  readonly name: string;
  readonly code: string | undefined;
  readonly message: string;
  readonly stack: string | undefined;
}

/** What a handler is given besides its argument. */
export interface RpcContext {
  /** Tells the caller something while the call runs; the buffers are moved instead of copied. */
  emit(event: unknown, ...transfer: ArrayBuffer[]): void;
  /** Buffers of the result to move instead of copy. */
  transfer(...buffers: ArrayBuffer[]): void;
}

/** Methods by name: each takes one argument and gives a result or a promise of one. */
// biome-ignore lint/suspicious/noExplicitAny: arguments and results are typed by the two callers
export type RpcHandlers = Record<string, (args: any, context: RpcContext) => unknown>;

/** The calling side of two threads. */
export interface RpcClient {
  /** Calls `method` over there; `onEvent` hears what it emits until its outcome is there. */
  call<Result>(
    method: string,
    args?: unknown,
    options?: { transfer?: ArrayBuffer[]; onEvent?: (event: never) => void },
  ): Promise<Result>;
  /** Ends the other thread; calls under way are rejected. */
  terminate(): Promise<void>;
}

const ERRORS: Record<string, (code: string, message: string) => MobillmError> = {
  ShapeError: (_, message) => new ShapeError(message),
  DTypeError: (_, message) => new DTypeError(message),
  DisposedError: (_, message) => new DisposedError(message),
  BackendError: (_, message) => new BackendError(message),
  FormatError: (code, message) => new FormatError(message, code),
  ProtocolError: (code, message) => new ProtocolError(message, code),
  UsageError: (code, message) => new UsageError(message, code),
};

function toWire(error: unknown): WireError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  return { name, message, stack, code: error instanceof MobillmError ? error.code : undefined };
}

function fromWire(wire: WireError): Error {
  const make = wire.code === undefined ? undefined : ERRORS[wire.name];
  const error = make ? make(wire.code as string, wire.message) : new Error(wire.message);
  error.stack = wire.stack ?? error.stack;
  return error;
}

/** Answers calls that arrive at `port`; typed errors keep their class and code across the thread. */
export function serveRpc(port: WorkerPort, handlers: RpcHandlers): void {
  port.onMessage(async (message) => {
    const call = message as RpcMessage;
    if (call.kind !== 'call') return;
    const { id, method, args } = call;
    const moved: ArrayBuffer[] = [];
    const context: RpcContext = {
      emit: (event, ...buffers) =>
        port.postMessage({ kind: 'event', id, event } satisfies RpcMessage, buffers),
      transfer: (...buffers) => moved.push(...buffers),
    };
    try {
      const handler = handlers[method];
      if (!handler) throw new Error(`worker has no method ${method}`);
      const result = await handler(args, context);
      port.postMessage({ kind: 'result', id, result } satisfies RpcMessage, moved);
    } catch (error) {
      port.postMessage({ kind: 'error', id, error: toWire(error) } satisfies RpcMessage);
    }
  });
}

/** The calling side. Calls are answered in the order the worker takes them; a dead worker rejects all, later ones too. */
export function connectRpc(port: WorkerPort): RpcClient {
  interface Pending {
    resolve(result: unknown): void;
    reject(error: Error): void;
    onEvent?: (event: never) => void;
  }
  const pending = new Map<number, Pending>();
  let nextId = 0;
  port.onMessage((message) => {
    const answer = message as RpcMessage;
    const call = pending.get(answer.id);
    if (!call || answer.kind === 'call') return;
    if (answer.kind === 'event') {
      call.onEvent?.(answer.event as never);
      return;
    }
    pending.delete(answer.id);
    if (answer.kind === 'result') call.resolve(answer.result);
    else call.reject(fromWire(answer.error));
  });
  let dead: Error | undefined;
  const failAll = (error: Error) => {
    dead = error;
    for (const call of pending.values()) call.reject(error);
    pending.clear();
  };
  port.onError(failAll);
  return {
    call<Result>(
      method: string,
      args?: unknown,
      options: { transfer?: ArrayBuffer[]; onEvent?: (event: never) => void } = {},
    ) {
      return new Promise<Result>((resolve, reject) => {
        if (dead) {
          reject(dead);
          return;
        }
        const id = nextId++;
        pending.set(id, {
          resolve: resolve as (result: unknown) => void,
          reject,
          onEvent: options.onEvent,
        });
        port.postMessage({ kind: 'call', id, method, args } satisfies RpcMessage, options.transfer);
      });
    },
    async terminate() {
      failAll(new Error('worker was stopped'));
      await port.terminate();
    },
  };
}
