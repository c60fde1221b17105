import { type Backend, BackendError, cpuBackend, wasmBackend } from '../../src/tensor/index.ts';

/** A variant of the wasm backend, or none where the engine lacks its instructions. */
function wasm(variant: 'simd128' | 'relaxed'): Backend[] {
  try {
    return [wasmBackend({ variant })];
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    console.warn(`skipped on this machine: ${error.message}`);
    return [];
  }
}

const made: readonly Backend[] = [cpuBackend(), ...wasm('simd128'), ...wasm('relaxed')];

/** Every backend this machine can run, one instance each a test file. */
export function backends(): { name: string; backend: Backend }[] {
  return made.map((backend) => ({ name: backend.description, backend }));
}
