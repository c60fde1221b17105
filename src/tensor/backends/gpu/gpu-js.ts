import { BackendError } from '../../errors.ts';

// The part of gpu.js that we use, in our own words: the package is optional, and its types name
// functions of the DOM that Node has not.

/** What a kernel leaves on the device under `pipeline: true`; a plain array on webasm and cpu. */
export interface Resident {
  toArray(): Float32Array | Promise<Float32Array>;
  delete(): void;
}

/** Something a kernel gives back or takes: numbers here, or numbers on the device. */
export type KernelValue = Float32Array | Resident;

/** What gpu.js gives where threads lie in several directions: rows, or lists of them. */
export type Rows = readonly (Float32Array | Rows)[];

/** The numbers of a result, one behind the other. */
export function flatResult<T extends KernelValue>(
  result: T | Rows,
  numel: number,
): T | Float32Array {
  if (!Array.isArray(result)) return result as T;
  const flat = new Float32Array(numel);
  let at = 0;
  const take = (rows: Rows) => {
    for (const row of rows) {
      if (row instanceof Float32Array) {
        flat.set(row, at);
        at += row.length;
      } else take(row);
    }
  };
  take(result);
  return flat;
}

/** A kernel of gpu.js, callable; compiled at its first call. */
export interface GpuJsKernel {
  (...args: readonly unknown[]): KernelValue | Rows | Promise<KernelValue | Rows>;
  readonly kernel: {
    readonly constructor: { readonly mode: string };
    readonly context: unknown;
    readonly fallbackReason?: string | null;
  };
  destroy(): void;
}

/** A compiled plan of gpu.js. */
export interface GpuJsPipeline {
  (...args: readonly unknown[]): Promise<unknown>;
  /** Mode of the kernels that ran; null before the first call. */
  readonly backend: string | null;
  readonly executorKind: string;
  readonly fallbackReason: string | null;
  destroy(): Promise<void>;
}

/** Settings of one kernel. */
export interface GpuJsKernelSettings {
  readonly output: readonly number[];
  readonly constants: Readonly<Record<string, number>>;
  // biome-ignore lint/complexity/noBannedTypes: taken for its source text alone
  readonly functions: readonly Function[];
  readonly pipeline: boolean;
  readonly immutable: boolean;
  readonly precision: 'single';
  readonly tactic: 'precision';
  readonly loopMaxIterations: number;
}

/** An instance of gpu.js in one mode. */
export interface GpuJs {
  createKernel(source: string, settings: GpuJsKernelSettings): GpuJsKernel;
  createPipeline(
    orchestrate: (...handles: readonly unknown[]) => unknown,
    settings: { readonly threads: boolean },
  ): GpuJsPipeline;
  destroy(): Promise<void>;
}

/** The package. */
export interface GpuJsModule {
  readonly GPU: {
    new (settings: { mode: string }): GpuJs;
    readonly isWebGL2Supported: boolean;
    readonly isHeadlessGLSupported: boolean;
    readonly isWebAssemblySupported: boolean;
    isWebGPUAvailable(): Promise<boolean>;
  };
  /** Numbers that are already flat, and their lengths, innermost first. */
  input(data: Float32Array, size: readonly number[]): unknown;
}

/** Where gpu.js runs kernels: a GPU by WebGPU, WebGL 2 or Node's package `gl`, WebAssembly, plain JavaScript. */
export const GPU_MODES = ['webgpu', 'webgl2', 'headlessgl', 'webasm', 'cpu'] as const;

/** One of `GPU_MODES`. */
export type GpuMode = (typeof GPU_MODES)[number];

/** @throws BackendError when the optional package is not installed */
export async function loadGpuJs(): Promise<GpuJsModule> {
  try {
    const loaded = (await import('gpu.js')) as unknown as GpuJsModule & { default?: GpuJsModule };
    return loaded.GPU ? loaded : (loaded.default as GpuJsModule);
  } catch (error) {
    throw new BackendError(
      'gpuBackend: the optional package gpu.js does not load here (npm install gpu.js)',
      { cause: error },
    );
  }
}

/** Whether there is anything that could reach a GPU; whether one answers is asked of gpu.js. */
export function hasGpuApi(): boolean {
  const gpu = typeof navigator !== 'undefined' && 'gpu' in navigator && Boolean(navigator.gpu);
  return gpu || typeof WebGL2RenderingContext !== 'undefined';
}

/** What computes for WebGPU or WebGL 2. */
export interface GpuAdapter {
  /** As the browser or driver names it, for example `google swiftshader`. */
  readonly name: string;
  /** Whether it is no GPU, but a processor that stands in. */
  readonly software: boolean;
}

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** What the browser says of itself; the DOM's types are not here. */
interface AdapterInfo {
  readonly info?: Readonly<Record<string, unknown>>;
  readonly isFallbackAdapter?: boolean;
}

/** The adapter behind a mode; null where it has none, or nobody tells. */
export async function adapterOf(mode: GpuMode): Promise<GpuAdapter | null> {
  if (mode === 'webgpu') {
    const { gpu } = navigator as unknown as {
      gpu: { requestAdapter(): Promise<AdapterInfo | null> };
    };
    const adapter = await gpu.requestAdapter();
    if (!adapter) return null;
    const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info ?? {};
    const words = [vendor, architecture, device, description].filter(Boolean);
    const name = words.join(' ') || 'an adapter without a name';
    const software = Boolean(isFallbackAdapter || adapter.isFallbackAdapter);
    return { name, software: software || SOFTWARE.test(name) };
  }
  // It tells nobody what draws for it, so that it cannot count as a GPU.
  if (mode === 'headlessgl') return { name: 'headless GL', software: true };
  if (mode !== 'webgl2') return null;
  const gl = new OffscreenCanvas(1, 1).getContext('webgl2');
  if (!gl) return null;
  const unmasked = gl.getExtension('WEBGL_debug_renderer_info');
  const name = String(gl.getParameter(unmasked?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return { name, software: SOFTWARE.test(name) };
}

/** Why a mode cannot run here, or undefined when it can. */
async function missing(module: GpuJsModule, mode: GpuMode): Promise<string | undefined> {
  switch (mode) {
    case 'webgpu':
      return (await module.GPU.isWebGPUAvailable()) ? undefined : 'no WebGPU adapter answers';
    case 'webgl2':
      return module.GPU.isWebGL2Supported ? undefined : 'there is no WebGL 2';
    case 'headlessgl':
      return module.GPU.isHeadlessGLSupported
        ? undefined
        : 'the package gl is missing or finds no display';
    case 'webasm':
      return module.GPU.isWebAssemblySupported ? undefined : 'there is no WebAssembly';
    case 'cpu':
      return undefined;
  }
}

/** The mode to run in, and what was better but is not to be had. */
export interface ChosenMode {
  readonly mode: GpuMode;
  /** Null when the best mode there is, or the one asked for, runs. */
  readonly fallbackReason: string | null;
}

/**
 * The mode asked for, or with `auto` the first of `GPU_MODES` that runs here.
 * @throws BackendError when the one asked for does not
 */
export async function chooseMode(
  module: GpuJsModule,
  wanted: 'auto' | GpuMode,
): Promise<ChosenMode> {
  if (wanted !== 'auto') {
    const reason = await missing(module, wanted);
    if (reason) throw new BackendError(`gpuBackend: ${wanted}: ${reason}`);
    return { mode: wanted, fallbackReason: null };
  }
  const reasons: string[] = [];
  for (const mode of GPU_MODES) {
    const reason = await missing(module, mode);
    const fallbackReason = reasons.length > 0 ? reasons.join('; ') : null;
    if (!reason) return { mode, fallbackReason };
    reasons.push(`${mode}: ${reason}`);
  }
  throw new BackendError(`gpuBackend: nothing runs here: ${reasons.join('; ')}`);
}

/** Whether gpu.js draws in this mode, and calls it `gpu`. */
export function isWebGl(mode: GpuMode): boolean {
  return mode === 'webgl2' || mode === 'headlessgl';
}

/** Which WebGL a context is of; undefined of neither that is used here. */
function webGlOf(context: unknown): GpuMode | undefined {
  if (typeof WebGL2RenderingContext !== 'undefined' && context instanceof WebGL2RenderingContext) {
    return 'webgl2';
  }
  // An extension that the package `gl` alone has.
  const gl = context as { getExtension?(name: string): unknown } | null | undefined;
  return gl?.getExtension?.('STACKGL_destroy_context') ? 'headlessgl' : undefined;
}

/** Whether a built kernel runs where it was meant to; the reason if not. */
export function strayedFrom(mode: GpuMode, kernel: GpuJsKernel): string | undefined {
  const { context, fallbackReason } = kernel.kernel;
  const ran = kernel.kernel.constructor.mode;
  if (ran === mode || (ran === 'gpu' && webGlOf(context) === mode)) return undefined;
  return `ran on ${ran} instead of ${mode}${fallbackReason ? `: ${fallbackReason}` : ''}`;
}
