import {
  type Backend,
  BackendError,
  cpuBackend,
  GPU_MODES,
  type GpuMode,
  gpuBackend,
  hasGpuApi,
  type WasmBackend,
  wasmBackend,
} from '../tensor/index.ts';
import { spawnKernelThread } from '../threads/node.ts';
import { CompiledEngine } from './compiled-engine.ts';
import { provideWebGpu } from './node-webgpu.ts';
import { openPageHost } from './page-host.ts';
import { type OpenEngine, remoteEngine } from './remote-engine.ts';
import type { StepEngine } from './step-engine.ts';

/** Backends a server can train on; `gpu:` names a mode of gpu.js. */
export const SERVER_BACKENDS = [
  'auto',
  'cpu',
  'wasm',
  'gpu',
  ...GPU_MODES.map((mode) => `gpu:${mode}` as const),
] as const;

/** The name of one of `SERVER_BACKENDS`. */
export type ServerBackend = (typeof SERVER_BACKENDS)[number];

/** What is to train, and whether something else may instead. */
export interface BackendChoice {
  readonly name: ServerBackend;
  /** Fail where this does not run, instead of taking the next best. */
  readonly required?: boolean;
  /** Threads that compute a job, where it is `wasm` that trains; 1 unless told. */
  readonly threads?: number;
  /** A Chromium in which gpu.js runs, instead of this process. */
  readonly chromium?: string;
}

/** A backend that runs, and how it came to be this one. */
export interface OpenedBackend {
  /** Computes, or with an engine holds what is trained. */
  readonly backend: Backend;
  /** Makes the steps, if not the backend. */
  readonly engine?: StepEngine;
  /** What really runs, with the reason where it is not what was asked for: shown to people. */
  readonly description: string;
  /** Why something better, or what was asked for, does not run; null where nothing is missing. */
  readonly fallbackReason: string | null;
}

/** What would make training faster than wasm. */
const REAL_GPU: readonly GpuMode[] = ['webgpu', 'webgl2'];

/**
 * Opens what was chosen. `auto`: gpu.js where a GPU answers, else wasm. `gpu`: gpu.js in the best
 * mode that runs here, which may be no GPU at all, unless one is required. Where the choice does not
 * run: wasm, with the reason, or an error when it is required.
 * @throws BackendError when what is required does not run here
 */
export async function openBackend(choice: BackendChoice): Promise<OpenedBackend> {
  const { name, required = false, threads } = choice;
  if (name === 'cpu') return asAsked(cpuBackend());
  const wasm = () => wasmBackend({ threads, spawn: spawnKernelThread });
  if (name === 'wasm') {
    const backend = wasm();
    return { ...asAsked(backend), fallbackReason: backend.fallbackReason };
  }
  try {
    const { engine, reasons } = await openGpu(choice);
    return {
      backend: cpuBackend(),
      engine,
      description: [engine.description, ...reasons].join('; '),
      fallbackReason: reasons.length > 0 ? reasons.join('; ') : null,
    };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    if (required) {
      throw new BackendError(`--require-backend: ${error.message}`, { cause: error });
    }
    const backend = wasm();
    const instead = `${backend.description} instead of ${name}: ${error.message}`;
    const description = name === 'auto' ? backend.description : instead;
    return { backend, description, fallbackReason: error.message };
  }
}

/** An engine, and why modes before it do not run. */
interface FoundEngine {
  readonly engine: StepEngine;
  readonly reasons: readonly string[];
}

/** gpu.js by a choice, here or in a Chromium. @throws BackendError where none of it runs */
async function openGpu({ name, required, chromium }: BackendChoice): Promise<FoundEngine> {
  const mode = GPU_MODES.find((known) => name === `gpu:${known}`);
  const realOnly = name === 'auto' || (name === 'gpu' && required === true);
  const modes = mode ? [mode] : realOnly ? REAL_GPU : GPU_MODES;
  if (chromium !== undefined) {
    const { rpc, close } = await openPageHost(chromium);
    try {
      const open = (one: GpuMode) => remoteEngine(rpc, one, 'Chromium');
      const { engine, reasons } = await firstOf(modes, realOnly, open);
      return { engine: { ...engine, close }, reasons };
    } catch (error) {
      await close();
      throw error;
    }
  }
  const why = modes.includes('webgpu') ? await provideWebGpu() : null;
  // Asked before gpu.js is loaded: in most Nodes there is no GPU to be had, and it takes a while.
  if (name === 'auto' && !hasGpuApi()) {
    throw new BackendError(`auto: this runtime has neither WebGPU (${why}) nor WebGL 2`);
  }
  return firstOf(modes, realOnly, async (one) => {
    if (one === 'webgpu' && why) throw new BackendError(`webgpu: ${why}`);
    const gpu = await gpuBackend({ mode: one });
    return { engine: new CompiledEngine(gpu), adapter: gpu.adapter };
  });
}

/** The first mode in which gpu.js can train, and why those before it cannot. */
async function firstOf(
  modes: readonly GpuMode[],
  realOnly: boolean,
  open: OpenEngine,
): Promise<FoundEngine> {
  const reasons = new Set<string>();
  for (const mode of modes) {
    try {
      const { engine, adapter } = await open(mode);
      if (!realOnly || !adapter?.software) return { engine, reasons: [...reasons] };
      await engine.close();
      reasons.add(`${mode}: no GPU answers, only software (${adapter.name})`);
    } catch (error) {
      if (!(error instanceof BackendError)) throw error;
      reasons.add(error.message.replace(/^gpuBackend: /, ''));
    }
  }
  throw new BackendError([...reasons].join('; '));
}

/**
 * What `openBackend` gives, without keeping it: for who wants to know before the first job.
 * @throws BackendError when what is required does not run here
 */
export async function probeBackend(
  choice: BackendChoice,
): Promise<Omit<OpenedBackend, 'backend' | 'engine'>> {
  const { backend, engine, ...rest } = await openBackend(choice);
  await engine?.close();
  if ('dispose' in backend) await (backend as WasmBackend).dispose();
  return rest;
}

function asAsked(backend: Backend): OpenedBackend {
  return { backend, description: backend.description, fallbackReason: null };
}
