import { hasRelaxedSimd } from '../../src/tensor/backends/wasm/features.ts';
import { type Backend, cpuBackend, wasmBackend } from '../../src/tensor/index.ts';

const made: readonly Backend[] = [
  cpuBackend(),
  wasmBackend({ variant: 'simd128' }),
  ...(hasRelaxedSimd() ? [wasmBackend({ variant: 'relaxed' })] : []),
];

/** Every backend this machine can run, one instance each a test file. */
export function backends(): { name: string; backend: Backend }[] {
  return made.map((backend) => ({ name: backend.description, backend }));
}
