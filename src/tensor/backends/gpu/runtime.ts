import { BackendError } from '../../errors.ts';
import { type DeviceFunction, HELPERS, kernelText } from './device-function.ts';
import {
  flatResult,
  type GpuJs,
  type GpuJsKernel,
  type GpuJsModule,
  type GpuMode,
  isWebGl,
  type KernelValue,
  type Resident,
  type Rows,
  strayedFrom,
} from './gpu-js.ts';
import { type Launch, Piece, Value } from './value.ts';

/** Elements of one tensor at most: gpu.js indexes in f32, which is exact up to here. */
export const MAXIMUM_NUMEL = 2 ** 24;

/** Compiled kernels kept; each holds device memory and, on webasm, a memory of its own. */
const KERNELS_KEPT = 1024;

/** Launches that wait before they are run without being asked for: bounds the memory they hold. */
const QUEUE_LENGTH = 1024;

function anchor(): number {
  return 1;
}

const ANCHOR = { source: anchor, inputs: [], constants: {}, scalars: [] };

/** An operand of a launch; null is one that is not there. */
export type Operand = Value | Piece | null;

/** Queues a kernel and gives the value that it will compute. */
export type LaunchFunction = (
  source: DeviceFunction,
  numel: number,
  inputs: readonly Operand[],
  constants?: Readonly<Record<string, number>>,
  scalars?: readonly number[],
  grid?: readonly number[],
) => Value;

/**
 * Runs kernels of gpu.js in one mode. Launches wait in a queue until somebody reads a value:
 * WebGPU answers later only, and what waits can also be compiled into one plan.
 */
export class GpuRuntime {
  readonly mode: GpuMode;
  readonly gpu: GpuJs;
  /** Whether values carry the element that shows a kernel which did not run (see `kernelText`). */
  readonly guarded: boolean;
  readonly module: GpuJsModule;
  private queue: Launch[] = [];
  private traced: Launch[] | undefined;
  private readonly kernels = new Map<string, GpuJsKernel>();
  private readonly sourceIds = new Map<DeviceFunction, number>();
  private readonly nothing: Value;
  private tail: Promise<void> = Promise.resolve();
  private onDevice = 0;
  /** See `destroyKernels`. */
  private anchor: GpuJsKernel | undefined;

  constructor(module: GpuJsModule, mode: GpuMode) {
    this.module = module;
    this.mode = mode;
    this.guarded = mode === 'webgpu' || isWebGl(mode);
    this.gpu = new module.GPU({ mode });
    const nothing = this.hostValue(1);
    nothing.host[0] = 1;
    this.nothing = nothing;
    this.destroyKernels([]);
  }

  /** Whether values can be had only by waiting for them. */
  get asynchronous(): boolean {
    return this.mode === 'webgpu';
  }

  /** What is kept beside the numbers in host memory: compiled kernels, values on the device. */
  resources(): { readonly kernels: number; readonly onDevice: number } {
    return { kernels: this.kernels.size, onDevice: this.onDevice };
  }

  /** A value of zeros in host memory, with its guard; the caller fills `host`. */
  hostValue(numel: number): Value & { host: Float32Array } {
    // No operand of a kernel may be empty.
    const host = new Float32Array(Math.max(1, numel) + (this.guarded ? 1 : 0));
    if (this.guarded) host[host.length - 1] = 1;
    return new Value(numel, host) as Value & { host: Float32Array };
  }

  /** See `LaunchFunction`. @throws BackendError for more elements than can be indexed */
  readonly launch: LaunchFunction = (
    source,
    numel,
    operands,
    constants = {},
    scalars = [],
    grid = undefined,
  ) => {
    checkNumel(numel);
    if (numel === 0) return this.hostValue(0);
    const inputs = operands.map((operand) => this.held(operand).retain());
    const output = new Value(numel);
    output.launch = { source, inputs, constants, scalars, grid, output };
    (this.traced ?? this.queue).push(output.launch);
    if (!this.traced && this.queue.length >= QUEUE_LENGTH) this.relieve();
    return output;
  };

  /** What an operand holds: zeros where nothing was written, a 1 where there is none. */
  held(operand: Operand): Value {
    if (!(operand instanceof Piece)) return operand ?? this.nothing;
    if (!operand.value) operand.value = this.hostValue(operand.numel);
    return operand.value;
  }

  /** Runs `body` and gives the launches that it asked for, none of which has run. */
  trace<T>(body: () => T): { result: T; launches: readonly Launch[] } {
    if (this.traced) throw new BackendError('compile: inside another compiled step');
    const launches: Launch[] = [];
    this.traced = launches;
    try {
      return { result: body(), launches };
    } finally {
      this.traced = undefined;
    }
  }

  /**
   * The numbers of a value, guard included; not a copy.
   * @throws BackendError on WebGPU unless they are here, and while a step is traced
   */
  read(value: Value): Float32Array {
    if (value.host) return value.host;
    if (this.traced) {
      throw new BackendError(
        'compile: the step reads a value that is yet to be computed; only what is here before the call can be read',
      );
    }
    if (this.asynchronous) {
      throw new BackendError('read: WebGPU answers later; await readAsync first');
    }
    this.flush();
    // On webasm and cpu what a kernel gives is here at once.
    return value.host ?? this.take(value, value.resident?.toArray() as Float32Array);
  }

  /** As `read`, on every mode. */
  async readAsync(value: Value): Promise<Float32Array> {
    value.retain();
    try {
      if (!value.host) await this.settle();
      if (value.host) return value.host;
      return this.take(value, (await value.resident?.toArray()) as Float32Array);
    } finally {
      value.release();
    }
  }

  /** Runs all launches that wait and whose results somebody still holds. */
  flush(): void {
    for (const launch of this.takeQueue()) {
      const { output } = launch;
      if (output.launch !== launch) continue;
      const { kernel, args } = this.prepare(launch);
      this.finish(launch, kernel, kernel(...args) as KernelValue | Rows);
    }
    this.expectNoFault();
  }

  /** As `flush`, on every mode. */
  settle(): Promise<void> {
    if (!this.asynchronous) {
      this.flush();
      return Promise.resolve();
    }
    const run = this.tail.then(async () => {
      for (const launch of this.takeQueue()) {
        if (launch.output.launch !== launch) continue;
        // Held until the device has them: whoever lets go meanwhile would delete them under it.
        for (const input of launch.inputs) input.retain();
        const { inputs } = launch;
        try {
          const { kernel, args } = this.prepare(launch);
          this.finish(launch, kernel, await kernel(...args));
        } finally {
          for (const input of inputs) input.release();
        }
      }
    });
    this.tail = run.catch(() => {});
    return run;
  }

  /** A kernel of its own for a launch's lengths; `kinds` tells operands of different kinds apart. */
  kernelFor(launch: Launch, kinds: string): GpuJsKernel {
    const key = `${kinds} ${this.keyOf(launch)}`;
    let kernel = this.kernels.get(key);
    if (kernel) this.kernels.delete(key);
    else kernel = this.createKernel(launch);
    this.kernels.set(key, kernel); // the most recently used is the last
    if (this.kernels.size > KERNELS_KEPT) {
      const [[oldest, unused]] = this.kernels;
      this.kernels.delete(oldest);
      this.destroyKernels([unused]);
    }
    return kernel;
  }

  /** Names what is compiled for a launch: equal for launches that differ in their numbers alone. */
  keyOf({ source, inputs, constants, grid, output }: Launch): string {
    const lengths = inputs.map((input) => input.numel);
    const id = this.sourceId(source);
    return `${id} ${grid ?? output.numel} ${lengths} ${Object.values(constants)}`;
  }

  /** A number that stands for a kernel's source. */
  sourceId(source: DeviceFunction): number {
    let id = this.sourceIds.get(source);
    if (id === undefined) {
      id = this.sourceIds.size;
      this.sourceIds.set(source, id);
    }
    return id;
  }

  /** The kernel of a launch, not cached: the caller destroys it. */
  createKernel({ source, inputs, constants, grid, output }: Launch): GpuJsKernel {
    const guards: Record<string, number> = { guard: output.numel };
    inputs.forEach((input, i) => {
      guards[`guard${i}`] = Math.max(1, input.numel);
    });
    return this.gpu.createKernel(kernelText(source, inputs.length, this.guarded), {
      output: grid ?? [output.numel + (this.guarded ? 1 : 0)],
      constants: this.guarded ? { ...constants, ...guards } : constants,
      functions: HELPERS,
      pipeline: true,
      immutable: true,
      precision: 'single',
      tactic: 'precision',
      // Bounds in `constants` need no limit; this is for any that gpu.js takes for a variable.
      loopMaxIterations: MAXIMUM_NUMEL,
    });
  }

  /**
   * Destroys kernels. On WebGL all kernels draw from the vertices of the one that was built last:
   * when that one goes, the others draw nothing and give their last results again, so another is
   * built behind it.
   */
  destroyKernels(kernels: readonly GpuJsKernel[]): void {
    for (const kernel of kernels) kernel.destroy();
    if (!isWebGl(this.mode)) return;
    const before = this.anchor;
    this.anchor = this.createKernel({ ...ANCHOR, output: new Value(1) });
    this.anchor();
    before?.destroy();
  }

  /**
   * After kernels of WebGL have run, whose faults are heard of only if somebody asks.
   * @throws BackendError when one of them failed
   */
  expectNoFault(): void {
    const gl = this.anchor?.kernel.context as WebGL2RenderingContext | undefined;
    const fault = gl?.getError() ?? 0;
    if (fault !== 0)
      throw new BackendError(`gpu: a kernel failed on ${this.mode}: GL error ${fault}`);
  }

  /** Destroys kernels and the instance of gpu.js. */
  async destroy(): Promise<void> {
    this.queue = [];
    for (const kernel of this.kernels.values()) kernel.destroy();
    this.anchor?.destroy();
    this.kernels.clear();
    await this.gpu.destroy();
  }

  /** Host data in the form kernels take. */
  input(host: Float32Array): unknown {
    return this.module.input(host, [host.length]);
  }

  /** Takes numbers that came from the device. @throws BackendError when their guard is not 1 */
  take(value: Value, host: Float32Array): Float32Array {
    if (this.guarded && host[value.numel] !== 1) {
      throw new BackendError(
        `gpu: a kernel before this result did not run to its end on ${this.mode} (its guard is ${host[value.numel]})`,
      );
    }
    value.host = host;
    return host;
  }

  /** Lets launches that were traced wait as others do. */
  enqueue(launches: readonly Launch[]): void {
    this.queue.push(...launches);
  }

  /** A launch's result is there; what it needed is let go. */
  settled(launch: Launch, result: KernelValue): void {
    if (!(result instanceof Float32Array)) this.count(result);
    launch.output.settle(result);
    for (const input of launch.inputs) input.release();
  }

  /** Counts a value on the device until it is deleted. */
  private count(resident: Resident): void {
    this.onDevice++;
    const free = resident.delete.bind(resident);
    resident.delete = () => {
      this.onDevice--;
      free();
    };
  }

  private takeQueue(): Launch[] {
    const waiting = this.queue;
    this.queue = [];
    return waiting;
  }

  private relieve(): void {
    // What fails here fails again, and loudly, for whoever reads what was not computed.
    if (this.asynchronous) this.settle().catch(() => {});
    else this.flush();
  }

  private prepare(launch: Launch): { kernel: GpuJsKernel; args: readonly unknown[] } {
    const { inputs, scalars } = launch;
    for (const input of inputs) {
      if (!input.host && !input.resident) {
        throw new BackendError('gpu: an operand was not computed: a launch before this one failed');
      }
    }
    const kinds = inputs.map((input) => (input.resident ? 'd' : 'h')).join('');
    const args = inputs.map((input) => input.resident ?? this.input(input.host as Float32Array));
    return { kernel: this.kernelFor(launch, kinds), args: [...args, ...scalars] };
  }

  private finish(launch: Launch, kernel: GpuJsKernel, given: KernelValue | Rows): void {
    const result = flatResult(given, launch.output.numel);
    const strayed = strayedFrom(this.mode, kernel);
    if (strayed) throw new BackendError(`gpu: ${launch.source.name} ${strayed}`);
    const { output } = launch;
    if (output.launch === launch) {
      this.settled(launch, result);
    } else if (!(result instanceof Float32Array)) {
      result.delete(); // let go of while it ran, and its inputs with it
    }
  }
}

/** @throws BackendError for more elements than can be indexed */
export function checkNumel(numel: number): void {
  if (numel > MAXIMUM_NUMEL) {
    throw new BackendError(
      `gpu: a tensor of ${numel} elements; at most ${MAXIMUM_NUMEL} can be indexed exactly in f32`,
    );
  }
}
