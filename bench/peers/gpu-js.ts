// gpu.js's matrix product, as its own README writes it, in the modes that compute without a GPU.
import {
  type GpuJsKernel,
  type GpuJsModule,
  type GpuMode,
  loadGpuJs,
} from '../../src/tensor/backends/gpu/gpu-js.ts';
import type { Engine, Problem } from './problem.ts';

/** `this` of a kernel of gpu.js. */
interface Thread {
  readonly thread: { readonly x: number; readonly y: number };
  readonly constants: { readonly k: number };
}

/** gpu.js compiles this function's text. */
function product(this: Thread, a: number[][], b: number[][]): number {
  let sum = 0;
  for (let i = 0; i < this.constants.k; i++) {
    sum += a[this.thread.y][i] * b[i][this.thread.x];
  }
  return sum;
}

/** What we use of its instance, more loosely typed than where it is a backend. */
type Gpu = Omit<InstanceType<GpuJsModule['GPU']>, 'createKernel'> & {
  createKernel(source: unknown, settings: Record<string, unknown>): GpuJsKernel;
};

/** The product in one mode; `w` is handed over as [K,N]. */
export async function gpuJsEngine(problem: Problem, mode: GpuMode): Promise<Engine> {
  const { GPU, input } = await loadGpuJs();
  const { m, k, n, x, w } = problem;
  const columns = new Float32Array(k * n);
  for (let j = 0; j < n; j++) for (let i = 0; i < k; i++) columns[i * n + j] = w[j * k + i];
  const gpu = new GPU({ mode }) as unknown as Gpu;
  const kernel = gpu.createKernel(product, {
    output: [n, m],
    constants: { k },
    loopMaxIterations: k,
    precision: 'single',
  });
  const run = () => {
    const rows = kernel(input(x, [k, m]), input(columns, [n, k])) as unknown as Float32Array[];
    const y = new Float32Array(m * n);
    rows.forEach((row, i) => {
      y.set(row, i * n);
    });
    return y;
  };
  run();
  const ran = kernel.kernel.constructor.mode;
  return {
    engine: 'gpu.js',
    variant: `createKernel, ${ran}${ran === mode ? '' : ` instead of ${mode}`}`,
    format: 'f32',
    run,
    async dispose() {
      kernel.destroy();
      await gpu.destroy();
    },
  };
}
