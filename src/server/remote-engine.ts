import type { RpcClient, RpcHandlers } from '../platform/rpc.ts';
import type { GpuAdapter, GpuMode } from '../tensor/index.ts';
import { BackendError } from '../tensor/index.ts';
import type { RowScore } from './objective.ts';
import type { EngineJob, ScoresCall, StepEngine, StepsCall, StepsResult } from './step-engine.ts';

/** An engine in one mode of gpu.js, and what it runs on. */
export interface OpenedEngine {
  readonly engine: StepEngine;
  /** Null where there is none: on webasm and cpu. */
  readonly adapter: GpuAdapter | null;
}

/** Opens an engine. @throws BackendError where the mode does not run */
export type OpenEngine = (mode: GpuMode) => Promise<OpenedEngine>;

/** What an engine over there tells of itself. */
interface Opened {
  readonly description: string;
  readonly adapter: GpuAdapter | null;
}

/** The far side of `remoteEngine`: one engine at a time, opened there. */
export function engineHandlers(open: OpenEngine): RpcHandlers {
  let engine: StepEngine | undefined;
  const opened = () => {
    if (!engine) throw new BackendError('engine: open comes first');
    return engine;
  };
  return {
    async open(mode: GpuMode): Promise<Opened> {
      await engine?.close();
      const next = await open(mode);
      engine = next.engine;
      return { description: engine.description, adapter: next.adapter };
    },
    begin: (job: EngineJob) => opened().begin(job),
    useHead: (bytes: Uint8Array) => opened().useHead(bytes),
    steps: (call: StepsCall) => opened().steps(call),
    scores: (call: ScoresCall) => opened().scores(call),
    peakBytes: () => opened().peakBytes(),
    async close() {
      await engine?.close();
      engine = undefined;
    },
  };
}

/**
 * An engine at the other end of a channel.
 * @param where what it runs in, in words
 * @throws BackendError where the mode does not run there
 */
export async function remoteEngine(
  rpc: RpcClient,
  mode: GpuMode,
  where: string,
): Promise<OpenedEngine> {
  const { description, adapter } = await rpc.call<Opened>('open', mode);
  const engine: StepEngine = {
    description: `${description} in ${where}`,
    begin: (job) => rpc.call('begin', job),
    useHead: (bytes) => rpc.call('useHead', bytes),
    steps: (call) => rpc.call<StepsResult>('steps', call),
    scores: (call) => rpc.call<readonly RowScore[]>('scores', call),
    peakBytes: () => rpc.call<number>('peakBytes'),
    close: () => rpc.call('close'),
  };
  return { engine, adapter };
}
