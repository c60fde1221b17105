import { hasRelaxedSimd } from '../../src/tensor/backends/wasm/features.ts';
import { type WasmBackend, wasmBackend } from '../../src/tensor/index.ts';
import { spawnKernelThread } from '../../src/threads/node.ts';

/** A backend of several threads that cuts whatever can be cut; it ends with the process. */
export async function threadedBackend(
  threads: number,
  options: Parameters<typeof wasmBackend>[0] = {},
): Promise<WasmBackend> {
  const backend = wasmBackend({
    threads,
    spawn: spawnKernelThread,
    pool: { share: 'always' },
    ...options,
  });
  await backend.ready;
  return backend;
}

/** Both variants where this engine has them. */
export const VARIANTS = hasRelaxedSimd()
  ? (['simd128', 'relaxed'] as const)
  : (['simd128'] as const);
