import type { Backend, Kernels } from '../../backend.ts';
import type { DType, TypedArray } from '../../dtype.ts';
import { BackendError } from '../../errors.ts';
import { hasRelaxedSimd, hasSimd128 } from './features.ts';
import { importsOver } from './kernel-thread.ts';
import { MAXIMUM_BYTES, SCRATCH_BASE, SCRATCH_BYTES, WasmMemory } from './memory.ts';
import { relaxed, simd128 } from './module.generated.ts';
import { moduleFrom } from './module.ts';
import { shareKernels } from './shared-kernels.ts';
import { mayWait } from './thread-control.ts';
import { type PoolOptions, type SpawnThread, ThreadPool } from './thread-pool.ts';

/** Which instructions the kernels use. */
export type WasmVariant = 'simd128' | 'relaxed';

/** Which kernels a wasm backend runs, in how many threads, and how much memory it may take. */
export interface WasmOptions {
  /** `auto`: relaxed where the engine has it and passes the self-test, else simd128. */
  readonly variant?: 'auto' | WasmVariant;
  /** Bytes for tensors before memory has to grow; 1 MiB unless told. */
  readonly initialBytes?: number;
  /** Bytes the whole memory may grow to; 4 GiB unless told. */
  readonly maximumBytes?: number;
  /**
   * Threads that compute, the calling one included; 1 unless told. Results are the same, to the bit.
   * Where threads cannot share memory it is 1 whatever is asked for, and `fallbackReason` says so.
   */
  readonly threads?: number;
  /** Starts the others: `spawnKernelThread` of `mobillm/threads/node` or `mobillm/threads/browser`. */
  readonly spawn?: SpawnThread;
  /** How work is shared out; for tests. */
  readonly pool?: PoolOptions;
}

/** AssemblyScript SIMD kernels over one linear memory; handles are byte addresses in it. */
export interface WasmBackend extends Backend {
  /** What handles point into; other modules of kernels import it and take the same handles. */
  readonly linearMemory: WebAssembly.Memory;
  readonly variant: WasmVariant;
  /** Threads that compute. */
  readonly threads: number;
  /** The other threads, where there are any: other modules of kernels join them. */
  readonly pool: ThreadPool | null;
  /** Why there are fewer threads than asked for; null where nothing is missing. */
  readonly fallbackReason: string | null;
  /** Resolves once all threads have come up; kernels run before that, too, with those that have. */
  readonly ready: Promise<void>;
  /** The elements at a handle, not a copy; empty as soon as memory grows (any `alloc` may). */
  view(handle: number, dtype: DType, numel: number): TypedArray;
  /** Ends the other threads; the backend computes no more. Without them there is nothing to do. */
  dispose(): Promise<void>;
}

type Exports = Parameters<typeof shareKernels>[2] & { selfTest(): number };

const sources: Record<WasmVariant, string> = { simd128, relaxed };

/** The kernels of a variant over `memory`; undefined when they fail their self-test. */
function instantiate(variant: WasmVariant, { memory, shared }: WasmMemory): Exports | undefined {
  const module = moduleFrom(sources[variant], shared ? 'shared' : 'own');
  const instance = new WebAssembly.Instance(module, importsOver(memory, SCRATCH_BASE));
  const exports = instance.exports as unknown as Exports;
  return exports.selfTest() === 1 ? exports : undefined;
}

/** Variants to try, best first. @throws BackendError when the engine has none of those wanted */
function candidates(wanted: 'auto' | WasmVariant): WasmVariant[] {
  if (!hasSimd128()) throw new BackendError('wasmBackend: this engine has no WebAssembly SIMD');
  const known = hasRelaxedSimd();
  if (wanted === 'relaxed' && !known) {
    throw new BackendError('wasmBackend: this engine has no relaxed WebAssembly SIMD');
  }
  if (wanted !== 'auto') return [wanted];
  return known ? ['relaxed', 'simd128'] : ['simd128'];
}

/** Why only one thread can compute here; null where more can. */
function whyOneThread(): string | null {
  if (typeof SharedArrayBuffer === 'undefined') {
    return 'no SharedArrayBuffer here (a page needs the headers COOP and COEP)';
  }
  return mayWait() ? null : "a page's main thread may not wait for others";
}

/**
 * A backend of its own, with its own memory: tensors of two wasm backends do not mix.
 * @throws BackendError when the engine cannot run the variant, or has no memory to give, and for
 *   threads without a `spawn`
 */
export function wasmBackend(options: WasmOptions = {}): WasmBackend {
  const wanted = options.variant ?? 'auto';
  const threads = options.threads ?? 1;
  if (!Number.isSafeInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw new BackendError(`wasmBackend: ${threads} threads, where 1 to ${MOST_THREADS} can be`);
  }
  const fallbackReason = threads > 1 ? whyOneThread() : null;
  const { spawn } = options;
  const many = threads > 1 && fallbackReason === null;
  if (many && !spawn) throw new BackendError('wasmBackend: threads need a spawn to start them');
  const heap = new WasmMemory(
    options.initialBytes ?? 2 ** 20,
    options.maximumBytes ?? MAXIMUM_BYTES,
    many,
  );
  for (const variant of candidates(wanted)) {
    const kernels = instantiate(variant, heap);
    if (!kernels) continue;
    if (!many || !spawn) return backendOver(heap, variant, kernels, null, fallbackReason);
    const scratchOf = () => heap.alloc('u8', SCRATCH_BYTES);
    const pool = new ThreadPool(heap.memory, threads, spawn, scratchOf, options.pool);
    const shared = shareKernels(pool, moduleFrom(sources[variant], 'shared'), kernels);
    return backendOver(heap, variant, shared, pool, null);
  }
  throw new BackendError(`wasmBackend: ${wanted} kernels fail their self-test on this engine`);
}

/** Most threads of a backend: more would each have less to do than it costs to wake them. */
export const MOST_THREADS = 64;

function backendOver(
  heap: WasmMemory,
  variant: WasmVariant,
  kernels: Kernels,
  pool: ThreadPool | null,
  fallbackReason: string | null,
): WasmBackend {
  const threads = pool?.threads ?? 1;
  const counted = threads > 1 ? `, ${threads} threads` : '';
  const missing = fallbackReason === null ? '' : `, 1 thread: ${fallbackReason}`;
  return {
    name: 'wasm',
    description: `wasm (${variant}${counted}${missing})`,
    variant,
    threads,
    pool,
    fallbackReason,
    ready: pool?.ready ?? Promise.resolve(),
    kernels,
    nil: 0,
    linearMemory: heap.memory,
    alloc: (dtype, numel) => heap.alloc(dtype, numel),
    free: (handle: number) => heap.free(handle),
    write(handle: number, dtype, data, offset = 0) {
      heap.view(handle, dtype, offset + data.length).set(data, offset);
    },
    read(handle: number, dtype, numel, offset = 0) {
      return heap.view(handle, dtype, offset + numel).slice(offset);
    },
    memory: () => heap.usage(),
    view: (handle, dtype, numel) => heap.view(handle, dtype, numel),
    dispose: async () => pool?.dispose(),
  };
}
