import {
  type Backend,
  BackendError,
  cpuBackend,
  GPU_MODES,
  type GpuBackend,
  gpuBackend,
  hasGpuApi,
  wasmBackend,
} from '../tensor/index.ts';

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
}

/** A backend that runs, and how it came to be this one. */
export interface OpenedBackend {
  readonly backend: Backend;
  /** What really runs, with the reason where it is not what was asked for: shown to people. */
  readonly description: string;
  /** Why something better, or what was asked for, does not run; null where nothing is missing. */
  readonly fallbackReason: string | null;
}

/** What would make training faster than wasm. */
const REAL_GPU = ['webgpu', 'webgl2'] as const;

/**
 * Opens what was chosen. `auto`: gpu.js where a GPU answers, else wasm. `gpu`: gpu.js in the best
 * mode that runs here, which may be no GPU at all. Where the choice does not run: wasm, with the
 * reason, or an error when it is required.
 * @throws BackendError when what is required does not run here
 */
export async function openBackend(choice: BackendChoice): Promise<OpenedBackend> {
  const { name, required = false } = choice;
  if (name === 'cpu') return asAsked(cpuBackend());
  if (name === 'wasm') return asAsked(wasmBackend());
  const mode = GPU_MODES.find((known) => name === `gpu:${known}`);
  try {
    if (name === 'auto') return asAsked(await gpuBackend({ mode: await gpuMode() }));
    const backend = await gpuBackend({ mode: mode ?? 'auto' });
    const { description, fallbackReason } = backend;
    if (!fallbackReason) return asAsked(backend);
    if (required) throw new BackendError(`gpu: no GPU answers: ${fallbackReason}`);
    return { backend, description: `${description}; ${fallbackReason}`, fallbackReason };
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    if (required) {
      throw new BackendError(`--require-backend: ${error.message}`, { cause: error });
    }
    const backend = wasmBackend();
    const instead = `${backend.description} instead of ${name}: ${error.message}`;
    const description = name === 'auto' ? backend.description : instead;
    return { backend, description, fallbackReason: error.message };
  }
}

/**
 * What `openBackend` gives, without keeping it: for who wants to know before the first job.
 * @throws BackendError when what is required does not run here
 */
export async function probeBackend(choice: BackendChoice): Promise<Omit<OpenedBackend, 'backend'>> {
  const { backend, ...rest } = await openBackend(choice);
  if ('destroy' in backend) await (backend as GpuBackend).destroy();
  return rest;
}

function asAsked(backend: Backend): OpenedBackend {
  return { backend, description: backend.description, fallbackReason: null };
}

/** The mode in which a GPU runs here. @throws BackendError where none does */
async function gpuMode(): Promise<(typeof REAL_GPU)[number]> {
  // Asked before gpu.js is loaded: in most Nodes there is no GPU to be had, and it takes a while.
  if (!hasGpuApi()) {
    throw new BackendError('auto: this runtime has neither WebGPU nor WebGL 2');
  }
  for (const mode of REAL_GPU) {
    const backend = await gpuBackend({ mode }).catch((error) => {
      if (error instanceof BackendError) return undefined;
      throw error;
    });
    await backend?.destroy();
    if (backend) return mode;
  }
  throw new BackendError('auto: neither WebGPU nor WebGL 2 answers');
}
