import type { DType } from '../../dtype.ts';
import type { DeviceFunction } from './device-function.ts';
import type { KernelValue, Resident } from './gpu-js.ts';

/** One kernel call that was asked for: run when somebody wants to see what comes of it. */
export interface Launch {
  readonly source: DeviceFunction;
  readonly inputs: readonly Value[];
  /** Whole numbers compiled into the kernel: lengths and strides. */
  readonly constants: Readonly<Record<string, number>>;
  /** Numbers given at the call. */
  readonly scalars: readonly number[];
  /** Threads in directions x, y and z, as many as elements; all in x where it is absent. */
  readonly grid?: readonly number[];
  readonly output: Value;
}

/**
 * Numbers that never change: a handle that is written to gets another value. They are here, on
 * the device, or still to be computed, and are given up when the last handle and the last waiting
 * launch let go.
 */
export class Value {
  readonly numel: number;
  /** The numbers, and the guard element behind them where there is one. */
  host: Float32Array | undefined;
  resident: Resident | undefined;
  /** Computes it; undefined once that has happened. */
  launch: Launch | undefined;
  private references = 1;

  constructor(numel: number, host?: Float32Array) {
    this.numel = numel;
    this.host = host;
  }

  /** Whether nobody wants it any more. */
  get dead(): boolean {
    return this.references === 0;
  }

  /** Somebody more holds it. Returns itself. */
  retain(): this {
    this.references++;
    return this;
  }

  /** Somebody lets go. */
  release(): void {
    if (--this.references > 0) return;
    this.resident?.delete();
    this.resident = undefined;
    this.host = undefined;
    // Nobody will see what the launch computes, so neither does it need its inputs.
    const { launch } = this;
    this.launch = undefined;
    if (launch) for (const input of launch.inputs) input.release();
  }

  /** Takes what its launch gave. */
  settle(result: KernelValue): void {
    if (result instanceof Float32Array) this.host = result;
    else this.resident = result;
    this.launch = undefined;
  }
}

/** A piece of memory as tensors see it: a dtype, a length, and the value it holds now. */
export class Piece {
  readonly dtype: DType;
  readonly numel: number;
  /** Undefined before anything was written. */
  value: Value | undefined;

  constructor(dtype: DType, numel: number) {
    this.dtype = dtype;
    this.numel = numel;
  }

  /** Lets go of the value and holds `next`, whose first holder it is. */
  assign(next: Value | undefined): void {
    this.value?.release();
    this.value = next;
  }
}
