import type { Backend, Kernels } from '../../backend.ts';
import type { DType, TypedArray } from '../../dtype.ts';
import { BackendError } from '../../errors.ts';
import { hasRelaxedSimd, hasSimd128 } from './features.ts';
import { MAXIMUM_BYTES, WasmMemory } from './memory.ts';
import { relaxed, simd128 } from './module.generated.ts';

/** Which instructions the kernels use. */
export type WasmVariant = 'simd128' | 'relaxed';

/** Which kernels a wasm backend runs, and how much memory it may take. */
export interface WasmOptions {
  /** `auto`: relaxed where the engine has it and passes the self-test, else simd128. */
  readonly variant?: 'auto' | WasmVariant;
  /** Bytes for tensors before memory has to grow; 1 MiB unless told. */
  readonly initialBytes?: number;
  /** Bytes the whole memory may grow to; 4 GiB unless told. */
  readonly maximumBytes?: number;
}

/** AssemblyScript SIMD kernels over one linear memory; handles are byte addresses in it. */
export interface WasmBackend extends Backend {
  /** What handles point into; other modules of kernels import it and take the same handles. */
  readonly linearMemory: WebAssembly.Memory;
  readonly variant: WasmVariant;
  /** The elements at a handle, not a copy; empty as soon as memory grows (any `alloc` may). */
  view(handle: number, dtype: DType, numel: number): TypedArray;
}

interface Exports extends Kernels {
  selfTest(): number;
}

/** Compiled once a process; every backend is an instance of its own. */
const compiled = new Map<WasmVariant, WebAssembly.Module>();
const sources: Record<WasmVariant, string> = { simd128, relaxed };

function compile(variant: WasmVariant): WebAssembly.Module {
  let module = compiled.get(variant);
  if (!module) {
    const bytes = Uint8Array.from(atob(sources[variant]), (char) => char.charCodeAt(0));
    module = new WebAssembly.Module(bytes);
    compiled.set(variant, module);
  }
  return module;
}

/** The kernels of a variant over `memory`; undefined when they fail their self-test. */
function instantiate(variant: WasmVariant, memory: WebAssembly.Memory): Exports | undefined {
  const instance = new WebAssembly.Instance(compile(variant), { env: { memory } });
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

/**
 * A backend of its own, with its own memory: tensors of two wasm backends do not mix.
 * @throws BackendError when the engine cannot run the variant, or has no memory to give
 */
export function wasmBackend(options: WasmOptions = {}): WasmBackend {
  const wanted = options.variant ?? 'auto';
  const heap = new WasmMemory(
    options.initialBytes ?? 2 ** 20,
    options.maximumBytes ?? MAXIMUM_BYTES,
  );
  for (const variant of candidates(wanted)) {
    const kernels = instantiate(variant, heap.memory);
    if (kernels) return backendOver(heap, variant, kernels);
  }
  throw new BackendError(`wasmBackend: ${wanted} kernels fail their self-test on this engine`);
}

function backendOver(heap: WasmMemory, variant: WasmVariant, kernels: Kernels): WasmBackend {
  return {
    name: 'wasm',
    description: `wasm (${variant})`,
    variant,
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
  };
}
