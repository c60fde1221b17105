import { BackendError } from '../../errors.ts';
import { SHARING, type Sharing } from './grain.ts';
import type { ThreadMessage, ThreadModule, ThreadPort, ThreadReady } from './kernel-thread.ts';
import {
  type Call,
  type Control,
  controlOver,
  partsOf,
  publish,
  type Split,
  Waiter,
  WORD,
  work,
} from './thread-control.ts';

/** A thread that serves kernels (`serveKernels`), seen from outside. */
export interface KernelThread extends ThreadPort {
  /** Calls `callback` when the thread dies of an error or ends unasked. */
  onError(callback: (error: Error) => void): void;
  /** Ends the thread, whatever it does. */
  terminate(): Promise<void>;
}

/** Starts a thread that calls `serveKernels`; `mobillm/threads/node` and `.../browser` have one. */
export type SpawnThread = () => KernelThread;

/**
 * No part of a job takes longer than this, unless the machine does something else: a thread that
 * held one for so long is taken for dead. Nothing tells a thread that waits in `Atomics.wait` about
 * another one's end.
 */
const PATIENCE_MS = 30_000;

/** A kernel that threads can share: its number, and how many modules a thread needs for it. */
export interface SharedKernel {
  readonly number: number;
  readonly modules: number;
}

/** What only tests set. */
export interface PoolOptions {
  /** `auto`: calls that gain by it; `always`: all that can be cut. */
  readonly share?: keyof typeof SHARING;
  /** After so many milliseconds without an answer a thread is taken for dead. */
  readonly patienceMs?: number;
}

/** Threads that compute over one memory together with the one that owns them. */
export class ThreadPool implements Sharing {
  /** That compute, the owner included. */
  readonly threads: number;
  readonly memory: WebAssembly.Memory;
  readonly worthNs: number;
  readonly partNs: number;
  /** Resolves once all run their first module; rejects with what kept one from it. */
  readonly ready: Promise<void>;
  private readonly control: Control = controlOver();
  private readonly waiter = new Waiter(this.control);
  private readonly members: readonly KernelThread[];
  private readonly calls: Call[] = [];
  private readonly patienceMs: number;
  private modules = 0;
  private fault: BackendError | undefined;

  /**
   * Starts `threads - 1` threads, which come up in the background and join the work when they are.
   * @param scratchOf gives the scratch address of f32 kernels of a thread, 1 and up
   */
  constructor(
    memory: WebAssembly.Memory,
    threads: number,
    spawn: SpawnThread,
    scratchOf: (thread: number) => number,
    { share = 'auto', patienceMs = PATIENCE_MS }: PoolOptions = {},
  ) {
    this.threads = threads;
    this.memory = memory;
    this.worthNs = SHARING[share].worthNs;
    this.partNs = SHARING[share].partNs;
    this.patienceMs = patienceMs;
    this.members = Array.from({ length: threads - 1 }, spawn);
    const up = this.members.map((member, i) => {
      const started = new Promise<void>((resolve, reject) => {
        member.onMessage((value) => {
          if ((value as ThreadReady).kind === 'ready') resolve();
        });
        member.onError((cause) => {
          this.fault ??= new BackendError(`a thread of kernels died: ${cause.message}`, { cause });
          reject(this.fault);
        });
      });
      const thread = i + 1;
      const { block } = this.control;
      this.tell(member, { kind: 'start', block, memory, thread, scratch: scratchOf(thread) });
      return started;
    });
    this.ready = Promise.all(up).then(() => {});
    // Who does not wait for it hears of it from the next kernel.
    this.ready.catch(() => {});
    Atomics.store(this.control.words, WORD.mail, 1);
  }

  private tell(member: KernelThread, message: ThreadMessage): void {
    member.postMessage(message);
  }

  /**
   * Gives a module to all threads. Its kernels are called with `run` from then on; threads that have
   * not taken it in yet leave them to the others.
   * @param instance the owner's own instance of the module
   */
  add(module: ThreadModule, instance: Record<string, Call>): Record<string, SharedKernel> {
    const shared: Record<string, SharedKernel> = {};
    this.modules++;
    for (const name of module.kernels) {
      shared[name] = { number: this.calls.length, modules: this.modules };
      this.calls.push(instance[name]);
    }
    for (const member of this.members) this.tell(member, { kind: 'module', ...module });
    const { words } = this.control;
    Atomics.add(words, WORD.mail, 1);
    Atomics.add(words, WORD.generation, 1);
    Atomics.notify(words, WORD.generation);
    return shared;
  }

  /**
   * Runs a kernel in parts, here and in the other threads, and returns when all are done.
   * @throws BackendError when a thread has died, or a kernel failed in one
   */
  run({ number, modules }: SharedKernel, args: readonly number[], split: Split): void {
    if (this.fault) throw this.fault;
    const { control } = this;
    const parts = partsOf(split);
    publish(control, number, modules, args, split);
    const failure = work(control, this.calls, this.modules, 0);
    for (;;) {
      const done = Atomics.load(control.words, WORD.done);
      if (done === parts) break;
      if (!this.waiter.changed(WORD.done, done, this.patienceMs)) {
        // Only the last part wakes us: others may have been done meanwhile.
        if (Atomics.load(control.words, WORD.done) !== done) continue;
        this.fault = new BackendError(
          `a thread of kernels has not answered for ${this.patienceMs / 1000} s; it is taken for dead`,
        );
        throw this.fault;
      }
    }
    if (Atomics.load(control.words, WORD.failed) === 1) {
      this.fault = new BackendError('a kernel failed in a thread', { cause: failure });
      throw this.fault;
    }
  }

  /** Parts of jobs that other threads than the owner have done so far. */
  get helped(): number {
    return Atomics.load(this.control.words, WORD.helped) >>> 0;
  }

  /** Ends all threads; kernels cannot be run afterwards. */
  async dispose(): Promise<void> {
    this.fault ??= new BackendError('the threads of this backend were ended');
    await Promise.all(this.members.map((member) => member.terminate()));
  }
}
