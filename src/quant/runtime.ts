import type { Backend } from '../tensor/backend.ts';
import type { WasmBackend } from '../tensor/backends/wasm/index.ts';
import { importsOver } from '../tensor/backends/wasm/kernel-thread.ts';
import { SCRATCH_BASE } from '../tensor/backends/wasm/memory.ts';
import { moduleFrom } from '../tensor/backends/wasm/module.ts';
import type { ThreadPool } from '../tensor/backends/wasm/thread-pool.ts';
import { BackendError } from '../tensor/errors.ts';
import { encodeRowsRef } from './kernels/encode-rows.ts';
import { gatherRowsQb4wRef, gatherRowsQc8wRef } from './kernels/gather.ts';
import { gemmQd8F32Qb4wRef, gemmQd8F32Qc8wRef } from './kernels/gemm.ts';
import { quantizeRowsQd8Ref } from './kernels/quantize-rows.ts';
import { type QuantKernels, scratchBytes } from './kernels/table.ts';
import { relaxed, simd128 } from './module.generated.ts';
import { selfTest } from './self-test.ts';
import { shareQuantKernels } from './shared-kernels.ts';

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
  /** Bytes of scratch that a gemm over rows [M,Kp] takes: what `scratchBytes` says, for each thread. */
  scratchBytes(m: number, kp: number): number;
}

/** The scalar twins: kernels of the `cpu` backend and the oracle of every other table. */
export const scalarKernels: QuantKernels = {
  quantizeRowsQd8: quantizeRowsQd8Ref,
  gemmQd8F32Qc8w: gemmQd8F32Qc8wRef as QuantKernels['gemmQd8F32Qc8w'],
  gemmQd8F32Qb4w: gemmQd8F32Qb4wRef as QuantKernels['gemmQd8F32Qb4w'],
  gatherRowsQc8w: gatherRowsQc8wRef as QuantKernels['gatherRowsQc8w'],
  gatherRowsQb4w: gatherRowsQb4wRef as QuantKernels['gatherRowsQb4w'],
  encodeRows: encodeRowsRef as QuantKernels['encodeRows'],
};

const installed = new WeakMap<Backend, InstalledQuant>();

const sources = { simd128, relaxed };

/** What the kernels' module exports beside the kernels. */
interface ModuleExports extends QuantKernels {
  useWideDot(wide: number): void;
  relaxedDotProbe(a: number, b: number): number;
}

/** What the probe gives where the engine builds the 32-bit dot from saturating 16-bit pairs. */
const PROBE_OF_PAIRS = 65_534;

/**
 * Kernels of one variant over the memory of a wasm backend, in its threads. Without `dot` the relaxed
 * one asks the engine: for operands on which engines are free to differ, the answer tells which
 * instruction it used.
 * @returns the kernels as they run in this thread, where they can be tested, and how to have them
 *   shared by all
 * @throws CompileError (the engine's) where the engine lacks the instructions
 */
function instantiateQuant(
  variant: 'simd128' | 'relaxed',
  { linearMemory, pool }: Pick<WasmBackend, 'linearMemory' | 'pool'>,
  wanted?: RelaxedDot,
): { own: QuantKernels; share: () => InstalledQuant } {
  const module = moduleFrom(sources[variant], pool ? 'shared' : 'own');
  const instance = new WebAssembly.Instance(module, importsOver(linearMemory, SCRATCH_BASE));
  const own = instance.exports as unknown as ModuleExports;
  let dot: RelaxedDot | null = null;
  if (variant === 'relaxed') {
    dot = wanted ?? (own.relaxedDotProbe(127, 255) === PROBE_OF_PAIRS ? 'i16' : 'i32');
    own.useWideDot(dot === 'i32' ? 1 : 0);
  }
  const setUp = dot ? { name: 'useWideDot', argument: dot === 'i32' ? 1 : 0 } : undefined;
  const share = () => ({
    variant,
    dot,
    kernels: pool ? shareQuantKernels(pool, module, own, setUp) : own,
    scratchBytes: pool ? pooledScratch(pool) : scratchBytes,
  });
  return { own, share };
}

/** Each thread has its scratch at a multiple of a cache line. */
function pooledScratch({ threads }: ThreadPool): typeof scratchBytes {
  return (...sizes) => Math.ceil(scratchBytes(...sizes) / 64) * 64 * threads;
}

/** A backend whose handles are addresses in a linear memory; undefined for others. */
function wasmOf(backend: Backend): WasmBackend | undefined {
  return 'linearMemory' in backend ? (backend as WasmBackend) : undefined;
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
  const wasm = wasmOf(backend);
  if (!wasm) {
    if (wanted !== 'auto' && wanted !== 'scalar') {
      throw new BackendError(`installQuant: variant ${wanted} needs wasm, backend ${backend.name}`);
    }
    return remember(backend, {
      variant: 'scalar',
      dot: null,
      kernels: scalarKernels,
      scratchBytes: () => 0,
    });
  }
  if (wanted === 'scalar') {
    throw new BackendError(`installQuant: variant scalar needs cpu, backend ${backend.name}`);
  }
  const order: ('simd128' | 'relaxed')[] =
    wanted !== 'auto'
      ? [wanted]
      : wasm.variant === 'relaxed'
        ? ['relaxed', 'simd128']
        : ['simd128'];
  let reason: unknown;
  for (const variant of order) {
    try {
      const { own, share } = instantiateQuant(variant, wasm, options.dot);
      if (selfTest(backend, own, scalarKernels)) return remember(backend, share());
      reason = new BackendError(`installQuant: ${variant} disagrees with the scalar twin`);
    } catch (error) {
      reason = error;
    }
  }
  throw new BackendError(`installQuant: ${order.join(', ')} cannot run on ${backend.description}`, {
    cause: reason,
  });
}

/** Puts kernels that count and do not compute into a counting backend; SIMD's, with their scratch. */
export function countQuant(backend: Backend): void {
  const { kernels } = backend as unknown as { kernels: QuantKernels };
  remember(backend, { variant: 'simd128', dot: null, kernels, scratchBytes });
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
