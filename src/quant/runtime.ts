import type { Backend } from '../tensor/backend.ts';
import type { WasmBackend } from '../tensor/backends/wasm/index.ts';
import { BackendError } from '../tensor/errors.ts';
import { gatherRowsQb4wRef, gatherRowsQc8wRef } from './kernels/gather.ts';
import { gemmQd8F32Qb4wRef, gemmQd8F32Qc8wRef } from './kernels/gemm.ts';
import { quantizeRowsQd8Ref } from './kernels/quantize-rows.ts';
import type { QuantKernels } from './kernels/table.ts';
import { relaxed, simd128 } from './module.generated.ts';
import { selfTest } from './self-test.ts';

/** Which code runs: the scalar twin, SIMD128, or SIMD128 with the relaxed integer dot. */
export type QuantVariant = 'scalar' | 'simd128' | 'relaxed';

/**
 * How `relaxed` multiplies: `i32`, the 32-bit dot, is one instruction with VNNI or sdot; elsewhere
 * `i16`, the 16-bit dot and our own widening, is faster. Same numbers.
 */
export type RelaxedDot = 'i32' | 'i16';

/** What `installQuant` chose for a backend. */
export interface InstalledQuant {
  readonly variant: QuantVariant;
  /** Null unless `variant` is `relaxed`. */
  readonly dot: RelaxedDot | null;
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

/** What the kernels' module exports beside the kernels. */
interface ModuleExports extends QuantKernels {
  useWideDot(wide: number): void;
  relaxedDotProbe(a: number, b: number): number;
}

/** What the probe gives where the engine builds the 32-bit dot from saturating 16-bit pairs. */
const PROBE_OF_PAIRS = 65_534;

/**
 * Kernels of one variant over a linear memory. Without `dot` the relaxed one asks the engine: for
 * operands on which engines are free to differ, the answer tells which instruction it used.
 * @throws CompileError (the engine's) where the engine lacks the instructions
 */
export function instantiateQuant(
  variant: 'simd128' | 'relaxed',
  memory: WebAssembly.Memory,
  dot?: RelaxedDot,
): InstalledQuant {
  const abort = () => {
    throw new BackendError('quant: a kernel aborted');
  };
  const instance = new WebAssembly.Instance(compile(variant), { env: { memory, abort } });
  const kernels = instance.exports as unknown as ModuleExports;
  if (variant === 'simd128') return { variant, dot: null, kernels };
  const chosen = dot ?? (kernels.relaxedDotProbe(127, 255) === PROBE_OF_PAIRS ? 'i16' : 'i32');
  kernels.useWideDot(chosen === 'i32' ? 1 : 0);
  return { variant, dot: chosen, kernels };
}

/** The linear memory behind a backend whose handles are addresses; undefined for `cpu`. */
function linearMemory(backend: Backend): WebAssembly.Memory | undefined {
  return (backend as Partial<WasmBackend>).linearMemory;
}

/**
 * Puts the integer kernels into `backend`, replacing those there. `auto`: on wasm `relaxed` where
 * the backend itself runs relaxed and the relaxed dot passes a test against the scalar twin on
 * this engine, else `simd128`; on cpu the scalar twin. All variants give equal bits.
 * @throws BackendError when the forced variant cannot run there, or fails its test
 */
export function installQuant(
  backend: Backend,
  options: { variant?: 'auto' | QuantVariant; dot?: RelaxedDot } = {},
): InstalledQuant {
  const wanted = options.variant ?? 'auto';
  const memory = linearMemory(backend);
  if (!memory) {
    if (wanted !== 'auto' && wanted !== 'scalar') {
      throw new BackendError(`installQuant: variant ${wanted} needs wasm, backend ${backend.name}`);
    }
    return remember(backend, { variant: 'scalar', dot: null, kernels: scalarKernels });
  }
  if (wanted === 'scalar') {
    throw new BackendError(`installQuant: variant scalar needs cpu, backend ${backend.name}`);
  }
  const own = (backend as Partial<WasmBackend>).variant;
  const order: ('simd128' | 'relaxed')[] =
    wanted !== 'auto' ? [wanted] : own === 'relaxed' ? ['relaxed', 'simd128'] : ['simd128'];
  let reason: unknown;
  for (const variant of order) {
    try {
      const made = instantiateQuant(variant, memory, options.dot);
      if (selfTest(backend, made.kernels, scalarKernels)) return remember(backend, made);
      reason = new BackendError(`installQuant: ${variant} disagrees with the scalar twin`);
    } catch (error) {
      reason = error;
    }
  }
  throw new BackendError(`installQuant: ${order.join(', ')} cannot run on ${backend.description}`, {
    cause: reason,
  });
}

function remember(backend: Backend, chosen: InstalledQuant): InstalledQuant {
  installed.set(backend, chosen);
  return chosen;
}

/** The kernels of a backend, installed by `auto` at first use. */
export function quantOf(backend: Backend): InstalledQuant {
  return installed.get(backend) ?? installQuant(backend);
}

/** What really runs on `backend`, for people: `gemmQd8F32Qc8w relaxed (i16 dot)`. */
export function kernelVariant(
  backend: Backend,
  kernel: keyof QuantKernels = 'gemmQd8F32Qc8w',
): string {
  const { variant, dot } = quantOf(backend);
  return `${kernel} ${variant}${dot ? ` (${dot} dot)` : ''}`;
}
