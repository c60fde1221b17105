import { type Call, controlOver, Waiter, WORD, work } from './thread-control.ts';

/** What a thread is sent: first where it works, then modules of kernels, one a message. */
export type ThreadMessage =
  | {
      readonly kind: 'start';
      readonly block: SharedArrayBuffer;
      readonly memory: WebAssembly.Memory;
      /** 1 and up; the caller of kernels is 0. */
      readonly thread: number;
      /** Address of this thread's scratch of f32 kernels. */
      readonly scratch: number;
    }
  | ({ readonly kind: 'module' } & ThreadModule);

/** Kernels that threads can run: a compiled module and the names of its kernels, in order. */
export interface ThreadModule {
  readonly module: WebAssembly.Module;
  readonly kernels: readonly string[];
  /** Called once in every thread, before its kernels: what the module is told at its start. */
  readonly setUp?: { readonly name: string; readonly argument: number };
}

/** What a thread says once its first module runs. */
export interface ThreadReady {
  readonly kind: 'ready';
}

/** The end of a channel that a thread has. */
export interface ThreadPort {
  /** Sends to the other end, by structured clone. */
  postMessage(value: unknown): void;
  /** Calls `callback` for every message; those that came before wait for it. */
  onMessage(callback: (value: unknown) => void): void;
}

/**
 * What one thread of a backend does, until it is terminated: it waits for jobs and takes parts of
 * them. Only between two messages does it return to its event loop.
 */
export function serveKernels(port: ThreadPort): void {
  const calls: Call[] = [];
  let handled = 0;
  let modules = 0;
  let run: (() => void) | undefined;
  let instantiate: ((module: ThreadModule) => void) | undefined;
  port.onMessage((value) => {
    const message = value as ThreadMessage;
    handled++;
    if (message.kind === 'start') {
      const { memory, scratch, thread } = message;
      const control = controlOver(message.block);
      const waiter = new Waiter(control);
      instantiate = ({ module, kernels, setUp }) => {
        const { exports } = new WebAssembly.Instance(module, importsOver(memory, scratch));
        if (setUp) (exports[setUp.name] as Call)(setUp.argument);
        for (const name of kernels) calls.push(exports[name] as Call);
        modules++;
      };
      run = () => {
        const { words } = control;
        for (;;) {
          const generation = Atomics.load(words, WORD.generation);
          if (Atomics.load(words, WORD.mail) > handled) return;
          work(control, calls, modules, thread);
          waiter.changed(WORD.generation, generation);
        }
      };
      return;
    }
    instantiate?.(message);
    if (modules === 1) port.postMessage({ kind: 'ready' } satisfies ThreadReady);
    run?.();
  });
}

/** What modules of kernels import: one memory, and where in it the f32 kernels have their scratch. */
export function importsOver(memory: WebAssembly.Memory, scratch: number): WebAssembly.Imports {
  const abort = () => {
    throw new WebAssembly.RuntimeError('a kernel aborted');
  };
  return { env: { memory, scratch, abort } };
}
