import { spawnWorker } from '../platform/node.ts';
import { connectRpc, type RpcClient } from '../platform/rpc.ts';
import type { ReceivedBatch, TrainerEvent, TrainingJob } from './side-trainer.ts';

/** Backends a server can train on. */
export const SERVER_BACKENDS = ['wasm', 'cpu'] as const;

/** The name of one of `SERVER_BACKENDS`. */
export type ServerBackend = (typeof SERVER_BACKENDS)[number];

/** What the trainer did, and when, by `monotonicMs` of its thread. */
export interface TimedEvent {
  readonly event: Exclude<TrainerEvent, { kind: 'wait' }>;
  readonly startMs: number;
  readonly endMs: number;
}

/** Bytes of cached activations, in memory and in spill files. */
export interface CacheBytes {
  readonly memory: number;
  readonly spilled: number;
}

/** The training of one job in a thread of its own, so that the server's sockets stay live. */
export class TrainingThread {
  readonly backend: string;
  private readonly rpc: RpcClient;

  private constructor(rpc: RpcClient, backend: string) {
    this.rpc = rpc;
    this.backend = backend;
  }

  /** Starts the thread on a backend. @throws BackendError when the backend does not come up */
  static async open(backend: ServerBackend): Promise<TrainingThread> {
    const rpc = connectRpc(spawnWorker(new URL('./training-worker.ts', import.meta.url)));
    return new TrainingThread(rpc, await rpc.call<string>('open', backend));
  }

  /** Takes a job on; rows may be received from then on. */
  start(job: TrainingJob): Promise<void> {
    return this.rpc.call('start', job);
  }

  /** Hands a batch over; resolves once it is in the cache, which is when its credit may return. */
  receive(batch: ReceivedBatch): Promise<CacheBytes> {
    return this.rpc.call('receive', batch);
  }

  /** Trains to the end. */
  run(
    onEvent: (event: TimedEvent) => void,
  ): Promise<{ cache: CacheBytes; backendPeakBytes: number }> {
    return this.rpc.call('run', undefined, { onEvent });
  }

  /** Gives the job up: `run` then ends at its next event, and what was received is dropped. */
  cancel(): Promise<void> {
    return this.rpc.call('cancel');
  }

  /** Removes the cache and ends the thread. */
  async close(): Promise<void> {
    await this.rpc.call('close').catch(() => {});
    await this.rpc.terminate();
  }
}
