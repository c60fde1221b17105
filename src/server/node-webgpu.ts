/** The part of the package `webgpu`, Dawn for Node, that is used here; it is nobody's dependency. */
interface DawnModule {
  /** What browsers have as globals: `GPUBufferUsage` and others. */
  readonly globals: Readonly<Record<string, unknown>>;
  create(options: readonly string[]): unknown;
}

const PACKAGE = 'webgpu';

const NOT_INSTALLED = 'the package webgpu is not installed';

/**
 * Gives this thread a `navigator.gpu` where it has none and the package `webgpu` is installed and
 * loads: its binaries want a recent system. Whether an adapter answers is asked of gpu.js.
 * @returns why there is none, or null
 */
export async function provideWebGpu(
  load: () => Promise<unknown> = () => import(PACKAGE),
): Promise<string | null> {
  if (typeof navigator !== 'undefined' && 'gpu' in navigator && navigator.gpu) return null;
  try {
    const { create, globals } = (await load()) as DawnModule;
    // A checkout of mobillm has another package by that name, which is not Dawn.
    if (typeof create !== 'function') return NOT_INSTALLED;
    const gpu = create([]);
    Object.assign(globalThis, globals);
    // Node 20 has no navigator at all.
    if (typeof navigator === 'undefined') Object.assign(globalThis, { navigator: {} });
    Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ERR_MODULE_NOT_FOUND' ? NOT_INSTALLED : `the package webgpu: ${message}`;
  }
}
