import type { Backend } from '../tensor/backend.ts';
import { BackendError } from '../tensor/errors.ts';
import { gatherRowsQb4wRef, gatherRowsQc8wRef } from './kernels/gather.ts';
import { gemmQd8F32Qb4wRef, gemmQd8F32Qc8wRef } from './kernels/gemm.ts';
import { quantizeRowsQd8Ref } from './kernels/quantize-rows.ts';
import type { QuantKernels } from './kernels/table.ts';
import { relaxed, simd128 } from './module.generated.ts';
import { selfTest } from './self-test.ts';

/** Which code runs: the scalar twin, SIMD128, or SIMD128 with the relaxed integer dot. */
export type QuantVariant = 'scalar' | 'simd128' | 'relaxed';

/** What `installQuant` chose for a backend. */
export interface InstalledQuant {
  readonly variant: QuantVariant;
  readonly kernels: QuantKernels;
}

/** The scalar twins: kernels of the `cpu` backend and the oracle of every other table. */
export const scalarKernels: QuantKernels = {
  quantizeRowsQd8: quantizeRowsQd8Ref,
  gemmQd8F32Qc8w: gemmQd8F32Qc8wRef as QuantKernels['gemmQd8F32Qc8w'],
  gemmQd8F32Qb4w: gemmQd8F32Qb4wRef as QuantKernels['gemmQd8F32Qb4w'],
  gatherRowsQc8w: gatherRowsQc8wRef as QuantKernels['gatherRowsQc8w'],
  gatherRowsQb4w: gatherRowsQb4wRef as QuantKernels['gatherRowsQb4w'],
};

const installed = new WeakMap<Backend, InstalledQuant>();

/** Compiled once a process; a second backend or thread only instantiates. */
const modules = new Map<'simd128' | 'relaxed', WebAssembly.Module>();

function compile(variant: 'simd128' | 'relaxed'): WebAssembly.Module {
  const known = modules.get(variant);
  if (known) return known;
  const base64 = variant === 'relaxed' ? relaxed : simd128;
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const module = new WebAssembly.Module(bytes);
  modules.set(variant, module);
  return module;
}

/** Kernels of one variant over a linear memory. @throws CompileError where the engine lacks it */
export function instantiateQuant(
  variant: 'simd128' | 'relaxed',
  memory: WebAssembly.Memory,
): QuantKernels {
  const abort = () => {
    throw new BackendError('quant: a kernel aborted');
  };
  const { exports } = new WebAssembly.Instance(compile(variant), { env: { memory, abort } });
  return exports as unknown as QuantKernels;
}

/** The linear memory behind a backend whose handles are addresses; undefined for `cpu`. */
function linearMemory(backend: Backend): WebAssembly.Memory | undefined {
  for (const value of Object.values(backend)) {
    if (value instanceof WebAssembly.Memory) return value;
  }
  return undefined;
}

/**
 * Puts the integer kernels into `backend`, replacing those there. `auto`: on wasm `relaxed` where
 * the backend itself runs relaxed and the relaxed dot passes a test against the scalar twin on
 * this engine, else `simd128`; on cpu the scalar twin. All variants give equal bits.
 * @throws BackendError when the forced variant cannot run there, or fails its test
 */
export function installQuant(
  backend: Backend,
  options: { variant?: 'auto' | QuantVariant } = {},
): InstalledQuant {
  const wanted = options.variant ?? 'auto';
  const memory = linearMemory(backend);
  if (!memory) {
    if (wanted !== 'auto' && wanted !== 'scalar') {
      throw new BackendError(`installQuant: variant ${wanted} needs wasm, backend ${backend.name}`);
    }
    return remember(backend, 'scalar', scalarKernels);
  }
  if (wanted === 'scalar') {
    throw new BackendError(`installQuant: variant scalar needs cpu, backend ${backend.name}`);
  }
  const own = (backend as { variant?: string }).variant;
  const order: ('simd128' | 'relaxed')[] =
    wanted !== 'auto' ? [wanted] : own === 'relaxed' ? ['relaxed', 'simd128'] : ['simd128'];
  let reason: unknown;
  for (const variant of order) {
    try {
      const kernels = instantiateQuant(variant, memory);
      if (selfTest(backend, kernels, scalarKernels)) return remember(backend, variant, kernels);
      reason = new BackendError(`installQuant: ${variant} disagrees with the scalar twin`);
    } catch (error) {
      reason = error;
    }
  }
  throw new BackendError(`installQuant: ${order.join(', ')} cannot run on ${backend.description}`, {
    cause: reason,
  });
}

function remember(backend: Backend, variant: QuantVariant, kernels: QuantKernels): InstalledQuant {
  const chosen = { variant, kernels };
  installed.set(backend, chosen);
  return chosen;
}

/** The kernels of a backend, installed by `auto` at first use. */
export function quantOf(backend: Backend): InstalledQuant {
  return installed.get(backend) ?? installQuant(backend);
}

/** What really runs on `backend`, for people: `gemmQd8F32Qc8w relaxed`. */
export function kernelVariant(
  backend: Backend,
  kernel: keyof QuantKernels = 'gemmQd8F32Qc8w',
): string {
  return `${kernel} ${quantOf(backend).variant}`;
}
