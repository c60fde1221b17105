import { randomUUID } from 'node:crypto';
import { MobillmError } from '../tensor/index.ts';
import { type Connection, PROTOCOL_VERSION } from '../transport/index.ts';
import type { HeadStore } from './head-store.ts';
import { Job, type JobOwner } from './job.ts';
import type { JobStore } from './job-store.ts';
import type { BackendChoice } from './server-backend.ts';
import { TrainingThread } from './training-thread.ts';

/** What a server offers to every session. */
export interface SessionOptions {
  readonly software: string;
  /** What is to train. */
  readonly backend: BackendChoice;
  /** Bytes of activations one job may hold in memory before they spill to disk. */
  readonly cacheLimit: number;
  readonly spillDir?: string;
  /** Bytes a device may have under way. */
  readonly creditWindow: number;
  /** Where jobs are kept so that they can be continued; without it none is. */
  readonly store?: JobStore;
  /** Where output heads of language models are kept; without it each job sends its own. */
  readonly heads?: HeadStore;
  readonly log: SessionLog;
}

/** Structured logging, as pino has it. */
export interface SessionLog {
  /** A line about what goes on as it should. */
  info(fields: object, message: string): void;
  /** A line about what went wrong and was dealt with. */
  warn(fields: object, message: string): void;
}

/**
 * One device's session: greets it, takes its job, feeds the training thread and sends back what
 * came of it. Returns when the device has left.
 */
export async function runSession(connection: Connection, options: SessionOptions): Promise<void> {
  const { log, store } = options;
  const session = randomUUID();
  let thread: TrainingThread | undefined;
  let owner: JobOwner | undefined;
  try {
    // A CANCEL of a job that is over comes here, and says nothing new.
    for await (const message of connection) {
      if (message.type === 'hello') {
        owner = { session, model: message.model };
        log.info({ session, device: message.software, model: message.model }, 'device connected');
        thread = await TrainingThread.open(options.backend);
        await connection.send({
          type: 'welcome',
          software: options.software,
          protocol: PROTOCOL_VERSION,
          backend: thread.backend,
          sessionId: session,
          creditWindow: options.creditWindow,
        });
      } else if (message.type === 'job' && thread && owner) {
        await new Job(connection, thread, message, options, owner).run();
      } else if (message.type === 'forget' && store) {
        await store.forget(message.id);
        log.info({ session, job: message.id }, 'job forgotten');
      }
    }
    log.info({ session }, 'device left');
  } catch (error) {
    const known = error instanceof MobillmError;
    log.warn({ session, code: known ? error.code : undefined }, (error as Error).message);
    if (known) connection.fail(error.code, error.message);
    else connection.fail('E_SERVER', `the server failed: ${(error as Error).message}`);
  } finally {
    await thread?.close();
  }
}
