import { type Backend, cpuBackend } from '../../src/tensor/index.ts';

const made: readonly Backend[] = [cpuBackend()];

/** Every backend this machine can run, one instance each a test file. */
export function backends(): { name: string; backend: Backend }[] {
  return made.map((backend) => ({ name: backend.name, backend }));
}
