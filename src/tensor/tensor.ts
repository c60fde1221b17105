import { type Backend, defaultBackend, type Handle } from './backend.ts';
import { type DType, dtypeOf, newTypedArray, type TypedArray } from './dtype.ts';
import { BackendError, DisposedError, DTypeError, ShapeError } from './errors.ts';
import { registerBirth } from './lifetime.ts';
import { formatShape, numelOf, type Shape, sameShape } from './shape.ts';

/** Memory that one or more tensors (views by `reshape`) share; freed with the last of them. */
interface Storage {
  readonly handle: Handle;
  readonly numel: number;
  references: number;
}

/** A contiguous array of one dtype on one backend. Immutable to operations; ops make new ones. */
export class Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly backend: Backend;
  /** Number of elements. */
  readonly numel: number;
  private storage: Storage | undefined;

  private constructor(shape: Shape, dtype: DType, backend: Backend, storage: Storage) {
    this.shape = shape;
    this.dtype = dtype;
    this.backend = backend;
    this.numel = storage.numel;
    this.storage = storage;
    registerBirth(this);
  }

  /**
   * Uninitialised memory: for ops, which fill it.
   * @throws ShapeError when a length is no whole number
   */
  static empty(shape: Shape, dtype: DType = 'f32', backend: Backend = defaultBackend()): Tensor {
    const numel = numelOf(shape);
    if (!shape.every((length) => Number.isInteger(length) && length >= 0)) {
      throw new ShapeError(`empty: ${formatShape(shape)} is no shape`);
    }
    return new Tensor([...shape], dtype, backend, {
      handle: backend.alloc(dtype, numel),
      numel,
      references: 1,
    });
  }

  get rank(): number {
    return this.shape.length;
  }

  get disposed(): boolean {
    return this.storage === undefined;
  }

  /** The backend's name for the memory. @throws DisposedError after `dispose` */
  get handle(): Handle {
    if (!this.storage) {
      throw new DisposedError(`tensor ${formatShape(this.shape)} ${this.dtype} was disposed`);
    }
    return this.storage.handle;
  }

  /**
   * A second tensor over the same memory, which is freed with the last of them.
   * @throws ShapeError when `shape` has another number of elements
   */
  aliasAs(shape: Shape): Tensor {
    void this.handle;
    if (numelOf(shape) !== this.numel) {
      throw new ShapeError(
        `aliasAs: cannot view ${formatShape(this.shape)} as ${formatShape(shape)}`,
      );
    }
    const storage = this.storage as Storage;
    storage.references++;
    return new Tensor([...shape], this.dtype, this.backend, storage);
  }

  /** A copy of the elements, row-major. */
  toArray(): TypedArray {
    return this.backend.read(this.handle, this.dtype, this.numel);
  }

  /** A copy of the elements. @throws DTypeError unless f32 */
  toFloat32(): Float32Array {
    if (this.dtype !== 'f32') throw new DTypeError(`toFloat32: tensor is ${this.dtype}`);
    return this.toArray() as Float32Array;
  }

  /** The only element. @throws ShapeError unless numel is 1 */
  item(): number {
    if (this.numel !== 1) throw new ShapeError(`item: shape ${formatShape(this.shape)}`);
    return this.toArray()[0];
  }

  /** Overwrites elements in place: for inputs and caches, never for values on a tape. */
  write(data: TypedArray, offset = 0): void {
    if (dtypeOf(data) !== this.dtype) {
      throw new DTypeError(`write: tensor is ${this.dtype}, data ${dtypeOf(data)}`);
    }
    if (offset < 0 || offset + data.length > this.numel) {
      throw new ShapeError(
        `write: ${data.length} elements at ${offset} exceed ${formatShape(this.shape)}`,
      );
    }
    this.backend.write(this.handle, this.dtype, data, offset);
  }

  /** Gives the memory back; a second call does nothing. */
  dispose(): void {
    const storage = this.storage;
    if (!storage) return;
    this.storage = undefined;
    if (--storage.references === 0) {
      this.backend.free(storage.handle, this.dtype, storage.numel);
    }
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Numbers in nested arrays. */
export type Nested = number | readonly Nested[];

function nestedShape(value: Nested): number[] {
  if (typeof value === 'number') return [];
  const inner = value.map(nestedShape);
  const ragged = inner.find((shape) => !sameShape(shape, inner[0]));
  if (ragged) {
    throw new ShapeError(
      `tensor: ragged nesting, ${formatShape(inner[0])} beside ${formatShape(ragged)}`,
    );
  }
  return [value.length, ...(inner[0] ?? [])];
}

/**
 * A tensor from nested arrays, a typed array (dtype follows it) or a number.
 * @throws ShapeError when the number of elements is not the shape's, or nesting is ragged
 */
export function tensor(
  values: Nested | TypedArray,
  shape?: Shape,
  options: { dtype?: DType; backend?: Backend } = {},
): Tensor {
  const typed = ArrayBuffer.isView(values);
  const flat = typed
    ? (values as TypedArray)
    : typeof values === 'number'
      ? [values]
      : ((values as unknown as number[]).flat(Number.POSITIVE_INFINITY) as number[]);
  const dims = shape ?? (typed ? [flat.length] : nestedShape(values as Nested));
  if (numelOf(dims) !== flat.length) {
    throw new ShapeError(`tensor: ${flat.length} values do not fill ${formatShape(dims)}`);
  }
  const dtype = options.dtype ?? (typed ? dtypeOf(values as TypedArray) : 'f32');
  const out = Tensor.empty(dims, dtype, options.backend);
  let data = flat as TypedArray;
  if (!typed || dtypeOf(data) !== dtype) {
    data = newTypedArray(dtype, flat.length);
    data.set(flat as ArrayLike<number>);
  }
  out.write(data);
  return out;
}

/** An f32 tensor of one value everywhere. */
export function full(shape: Shape, value: number, backend?: Backend): Tensor {
  const out = Tensor.empty(shape, 'f32', backend);
  out.backend.kernels.fill(out.handle, out.numel, value);
  return out;
}

/** An f32 tensor of zeros. */
export function zeros(shape: Shape, backend?: Backend): Tensor {
  return full(shape, 0, backend);
}

/** An f32 tensor of ones. */
export function ones(shape: Shape, backend?: Backend): Tensor {
  return full(shape, 1, backend);
}

/**
 * The backend all operands live on.
 * @throws BackendError when they differ
 */
export function commonBackend(operation: string, ...operands: readonly Tensor[]): Backend {
  const backend = operands[0].backend;
  for (const operand of operands) {
    if (operand.backend !== backend) {
      throw new BackendError(
        `${operation}: operands on ${backend.name} and ${operand.backend.name}; move one first`,
      );
    }
  }
  return backend;
}

/** @throws DisposedError when an operand's memory was given back */
export function expectUsable(operation: string, ...operands: readonly Tensor[]): void {
  for (const operand of operands) {
    if (operand.disposed) {
      throw new DisposedError(
        `${operation}: operand ${formatShape(operand.shape)} ${operand.dtype} was disposed`,
      );
    }
  }
}

/**
 * What every operation asks of its operands first.
 * @throws DisposedError when an operand's memory was given back
 * @throws DTypeError unless every operand has the dtype
 */
export function expectDType(operation: string, dtype: DType, ...operands: readonly Tensor[]): void {
  expectUsable(operation, ...operands);
  for (const operand of operands) {
    if (operand.dtype !== dtype) {
      throw new DTypeError(
        `${operation}: takes ${dtype}, got ${operand.dtype} ${formatShape(operand.shape)}`,
      );
    }
  }
}
