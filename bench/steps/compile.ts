// Compiles the steps in memory when somebody runs them: nothing of them is built or shipped.
import { join } from 'node:path';
import { hasRelaxedSimd } from '../../src/tensor/backends/wasm/features.ts';

/** A step: out [M,N] i32, x [M,K] i8, w in the step's layout; all addresses. */
export type StepKernel = (
  out: number,
  x: number,
  w: number,
  m: number,
  n: number,
  k: number,
) => void;

/** The steps by name, over their memory. */
export interface Steps {
  readonly memory: WebAssembly.Memory;
  readonly scalar: StepKernel;
  readonly simd: StepKernel;
  readonly tiled: StepKernel;
  readonly packed: StepKernel;
  /** Does nothing where the engine has no relaxed SIMD. */
  readonly relaxed: StepKernel;
}

/** Where operands may lie: the modules own nothing above. */
export const OPERANDS = 65_536;

let compiled: Promise<Steps> | undefined;

/** @throws Error when the compiler does not take a step */
export function compileSteps(): Promise<Steps> {
  compiled ??= compile();
  return compiled;
}

async function compile(): Promise<Steps> {
  const { default: asc } = await import('assemblyscript/asc');
  let bytes: Uint8Array | undefined;
  const features = ['simd', ...(hasRelaxedSimd() ? ['relaxed-simd'] : [])];
  const { error, stderr } = await asc.main(
    [
      join(import.meta.dirname, 'assembly', 'index.ts'),
      ...['--outFile', 'steps.wasm', '--baseDir', '/', '--runtime', 'stub', '--noAssert'],
      ...['--optimizeLevel', '3', '--shrinkLevel', '0', '--converge', '--disableWarning', '112'],
      ...features.flatMap((feature) => ['--enable', feature]),
      ...['--initialMemory', '64'],
    ],
    {
      writeFile(_name, contents) {
        if (typeof contents !== 'string') bytes = contents;
      },
    },
  );
  if (error || !bytes) throw new Error(`steps: ${error?.message}\n${stderr}`);
  const module = new WebAssembly.Module(Uint8Array.from(bytes));
  const abort = () => {
    throw new Error('steps: a kernel aborted');
  };
  return new WebAssembly.Instance(module, { env: { abort } }).exports as unknown as Steps;
}
