import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type DeviceFunction,
  kernelText,
  type Thread,
} from '../../../../src/tensor/backends/gpu/device-function.ts';
import type {
  GpuJs,
  GpuJsKernel,
  GpuJsModule,
  GpuMode,
} from '../../../../src/tensor/backends/gpu/gpu-js.ts';
import { chooseMode } from '../../../../src/tensor/backends/gpu/gpu-js.ts';
import { GpuRuntime } from '../../../../src/tensor/backends/gpu/runtime.ts';
import { gpuBackend } from '../../../../src/tensor/index.ts';

/** A gpu.js whose kernels give what `compute` says, `ran` where it says. */
function pretended(options: {
  compute?: (length: number) => Float32Array;
  ran?: string;
  has?: readonly GpuMode[];
  /** While a kernel runs. */
  onRun?: () => void;
}): GpuJsModule & { deleted: number } {
  const { compute = (n) => new Float32Array(n), ran = 'webgpu', has = ['webgpu'] } = options;
  const module = { deleted: 0 };
  class GPU implements GpuJs {
    static isWebGL2Supported = has.includes('webgl2');
    static isHeadlessGLSupported = has.includes('headlessgl');
    static isWebAssemblySupported = has.includes('webasm');
    static async isWebGPUAvailable(): Promise<boolean> {
      return has.includes('webgpu');
    }
    createKernel(_source: string, { output }: { output: readonly number[] }): GpuJsKernel {
      const call = async () => {
        options.onRun?.();
        const free = () => {
          module.deleted++;
        };
        return { toArray: async () => compute(output[0]), delete: free };
      };
      const kernel = { constructor: { mode: ran }, context: null, fallbackReason: 'no such type' };
      return Object.assign(call, { kernel, destroy: () => {} }) as unknown as GpuJsKernel;
    }
    createPipeline(): never {
      throw new Error('no pipeline here');
    }
    async destroy(): Promise<void> {}
  }
  return Object.assign(module, { GPU, input: (data: Float32Array) => data });
}

function same(this: Thread, x: readonly number[]): number {
  return x[this.thread.x];
}

describe('what a GPU gives back', () => {
  test('zeros where a kernel should have written: an error, not a result', async () => {
    const runtime = new GpuRuntime(pretended({}), 'webgpu');
    const out = runtime.launch(same, 3, [runtime.hostValue(3)]);
    await assert.rejects(runtime.readAsync(out), {
      code: 'E_BACKEND',
      message: /a kernel before this result did not run to its end on webgpu \(its guard is 0\)/,
    });
  });

  test('numbers, where the guard behind them is 1', async () => {
    const runtime = new GpuRuntime(
      pretended({ compute: (n) => new Float32Array(n).fill(5).fill(1, n - 1) }),
      'webgpu',
    );
    const out = runtime.launch(same, 3, [runtime.hostValue(3)]);
    assert.deepEqual((await runtime.readAsync(out)).subarray(0, 3), Float32Array.of(5, 5, 5));
  });

  test('a kernel that ran elsewhere is an error with the reason', async () => {
    const runtime = new GpuRuntime(pretended({ ran: 'cpu' }), 'webgpu');
    const out = runtime.launch(same, 3, [runtime.hostValue(3)]);
    await assert.rejects(runtime.readAsync(out), {
      code: 'E_BACKEND',
      message: 'gpu: same ran on cpu instead of webgpu: no such type',
    });
  });

  test('values are deleted when the last holder lets go, also while they are computed', async () => {
    let runs = 0;
    const module = pretended({
      onRun: () => {
        if (++runs === 2) second.release();
      },
    });
    const runtime = new GpuRuntime(module, 'webgpu');
    const first = runtime.launch(same, 3, [runtime.hostValue(3)]);
    const second = runtime.launch(same, 3, [first]);
    const unseen = runtime.launch(same, 3, [first]);
    first.release();
    unseen.release();
    await runtime.settle();
    assert.equal(runs, 2, 'what nobody will see is not computed');
    assert.equal(runtime.resources().onDevice, 0);
    assert.equal(module.deleted, 2);
  });
});

describe('the choice of a mode', () => {
  test('auto takes the first that runs, and names those before it', async () => {
    const some = pretended({ has: ['webgl2', 'webasm'] });
    assert.deepEqual(await chooseMode(some, 'auto'), {
      mode: 'webgl2',
      fallbackReason: 'webgpu: no WebGPU adapter answers',
    });
    const { mode } = await chooseMode(pretended({ has: ['headlessgl', 'webasm'] }), 'auto');
    assert.equal(mode, 'headlessgl');
    const best = await chooseMode(pretended({ has: ['webgpu'] }), 'auto');
    assert.deepEqual(best, { mode: 'webgpu', fallbackReason: null });
  });

  test('one that was named runs, or nothing does', async () => {
    await assert.rejects(chooseMode(pretended({}), 'webgl2'), {
      code: 'E_BACKEND',
      message: 'gpuBackend: webgl2: there is no WebGL 2',
    });
    await assert.rejects(gpuBackend({ mode: 'webgpu' }), { code: 'E_BACKEND' });
    await assert.rejects(chooseMode(pretended({}), 'headlessgl'), {
      message: 'gpuBackend: headlessgl: the package gl is missing or finds no display',
    });
  });
});

test('a guarded kernel multiplies the guards of its operands, and computes as before', () => {
  const text = kernelText(same as DeviceFunction, 1, true);
  const guarded = new Function(`return ${text}`)() as DeviceFunction;
  const constants = { guard: 2, guard0: 3 };
  const at = (x: number, values: readonly number[]) =>
    guarded.call({ thread: { x }, constants }, values);
  assert.equal(at(1, [7, 8, 9, 1]), 8);
  assert.equal(at(2, [7, 8, 9, 1]), 1);
  assert.equal(at(2, [7, 8, 9, 0]), 0, 'what was lost before is lost here');
});
