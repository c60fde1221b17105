import { findChromium as findOrThrow } from '../../src/server/index.ts';
import { UsageError } from '../../src/tensor/index.ts';

/** WebGPU and WebGL 2 are computed in software, on a machine with a GPU too. */
export const SOFTWARE_GPU = ['--use-webgpu-adapter=swiftshader', '--use-angle=swiftshader'];

/** The Chromium of this machine (`$CHROMIUM` is the path of another); undefined where there is none. */
export function findChromium(): string | undefined {
  try {
    return findOrThrow(process.env.CHROMIUM || undefined);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}
