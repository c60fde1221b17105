import type { Backend, Kernels } from '../../backend.ts';
import { bytesPerElement, newTypedArray, type TypedArray } from '../../dtype.ts';
import { BackendError } from '../../errors.ts';
import {
  adapterOf,
  chooseMode,
  type GpuAdapter,
  type GpuMode,
  isWebGl,
  loadGpuJs,
} from './gpu-js.ts';
import { attentionKernels } from './kernels/attention.ts';
import { codeKernels } from './kernels/codes.ts';
import { elementwiseKernels } from './kernels/elementwise.ts';
import { embeddingKernels } from './kernels/embedding.ts';
import { layoutKernels } from './kernels/layout.ts';
import { lerpKernels } from './kernels/lerp.ts';
import { lossKernels } from './kernels/loss.ts';
import { matmulKernels } from './kernels/matmul.ts';
import { normKernels } from './kernels/norm.ts';
import { optimizerKernels } from './kernels/optimizer.ts';
import { reduceKernels } from './kernels/reduce.ts';
import { ropeKernels } from './kernels/rope.ts';
import { compileStep, stepKernels } from './plan.ts';
import { checkNumel, GpuRuntime, MAXIMUM_NUMEL, type Operand } from './runtime.ts';
import { Piece } from './value.ts';

export { GPU_MODES, type GpuAdapter, type GpuMode, hasGpuApi } from './gpu-js.ts';

/** Where gpu.js is to run. */
export interface GpuOptions {
  /** `auto` (the default): the first of `GPU_MODES` that runs here. */
  readonly mode?: 'auto' | GpuMode;
}

/** Kernels of gpu.js; handles are pieces whose values wait until somebody reads them. */
export interface GpuBackend extends Backend {
  readonly mode: GpuMode;
  /** What computes; null on webasm and cpu, and where nobody tells. */
  readonly adapter: GpuAdapter | null;
  /** Which modes would have been better, and why they do not run here; null where none would. */
  readonly fallbackReason: string | null;
  /** `read`, where the mode answers later only (webgpu); works on every mode. */
  readAsync(handle: Piece, numel: number, offset?: number): Promise<TypedArray>;
  /** What is held beside tensors' numbers: compiled kernels, and values on the device. */
  resources(): { readonly kernels: number; readonly onDevice: number };
  /** Gives kernels and device memory back; the backend is not used any more. */
  destroy(): Promise<void>;
}

function gpuKernels(runtime: GpuRuntime): Kernels {
  const { launch } = runtime;
  const held = (operand: Operand) => runtime.held(operand);
  const read = (operand: Operand) => runtime.read(runtime.held(operand));
  const hostOf = (data: Float32Array) => {
    const value = runtime.hostValue(data.length);
    value.host.set(data);
    return value;
  };
  return {
    ...elementwiseKernels(launch),
    ...lerpKernels(launch),
    ...layoutKernels(launch),
    ...reduceKernels(launch),
    // There four columns are computed at once, and their rows need no guard.
    ...matmulKernels(launch, runtime.mode === 'webasm'),
    ...normKernels(launch, held),
    ...lossKernels(launch),
    ...embeddingKernels(launch),
    ...codeKernels(launch),
    ...ropeKernels(launch),
    ...attentionKernels(launch, read, hostOf),
    ...optimizerKernels(launch),
  };
}

/**
 * A backend whose kernels gpu.js compiles for WebGPU, WebGL 2, WebAssembly or plain JavaScript.
 * Each call makes one of its own: tensors of two do not mix.
 * @throws BackendError when gpu.js is not installed, or the mode does not run here
 */
export async function gpuBackend(options: GpuOptions = {}): Promise<GpuBackend> {
  const module = await loadGpuJs();
  const { mode, fallbackReason } = await chooseMode(module, options.mode ?? 'auto');
  const runtime = new GpuRuntime(module, mode);
  return backendOver(runtime, fallbackReason, await adapterOf(mode));
}

function backendOver(
  runtime: GpuRuntime,
  fallbackReason: string | null,
  adapter: GpuAdapter | null,
): GpuBackend {
  let bytes = 0;
  let peakBytes = 0;
  let allocations = 0;
  const part = (piece: Piece, host: Float32Array, numel: number, offset: number): TypedArray => {
    const out = newTypedArray(piece.dtype, numel);
    out.set(host.subarray(offset, offset + numel));
    return out;
  };
  return {
    name: 'gpu',
    description: `gpu:${runtime.mode} (${['gpu.js', ...(adapter ? [adapter.name] : [])].join(', ')})`,
    mode: runtime.mode,
    adapter,
    fallbackReason,
    kernels: gpuKernels(runtime),
    nil: null,
    alloc(dtype, numel) {
      checkNumel(numel);
      bytes += numel * bytesPerElement(dtype);
      peakBytes = Math.max(peakBytes, bytes);
      allocations++;
      return new Piece(dtype, numel);
    },
    free(piece: Piece, dtype, numel) {
      piece.assign(undefined);
      bytes -= numel * bytesPerElement(dtype);
      allocations--;
    },
    write(piece: Piece, _dtype, data, offset = 0) {
      const next = runtime.hostValue(piece.numel);
      if (data.length < piece.numel && piece.value) {
        next.host.set(runtime.read(piece.value));
      }
      next.host.set(data, offset);
      if (data instanceof Int32Array) expectExact(data);
      piece.assign(next);
    },
    read(piece: Piece, _dtype, numel, offset = 0) {
      return part(piece, runtime.read(runtime.held(piece)), numel, offset);
    },
    async readAsync(piece, numel, offset = 0) {
      return part(piece, await runtime.readAsync(runtime.held(piece)), numel, offset);
    },
    compile: (step) =>
      isWebGl(runtime.mode) ? stepKernels(runtime, step) : compileStep(runtime, step),
    memory: () => ({ bytes, peakBytes, allocations }),
    resources: () => runtime.resources(),
    destroy: () => runtime.destroy(),
  };
}

/** @throws BackendError for an integer that f32, in which all is kept here, does not hold */
function expectExact(data: Int32Array): void {
  const bad = data.find((value) => Math.abs(value) > MAXIMUM_NUMEL);
  if (bad !== undefined) {
    throw new BackendError(
      `gpu: integer ${bad} is beyond ${MAXIMUM_NUMEL}, what f32 holds exactly`,
    );
  }
}
