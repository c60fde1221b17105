import { bytesPerElement, type DType, type TypedArray, viewTypedArray } from '../../dtype.ts';
import { BackendError } from '../../errors.ts';
import { AddressMap } from './address-map.ts';
import { ALIGNMENT, Allocator, unitsOf } from './allocator.ts';

const PAGE = 65536;

/**
 * First address tensors may have. Below it: nothing at 0 (so that 0 means "not there"), static
 * data of the two modules (scripts/build-wasm.mjs) and scratch of kernels (assembly/layout.ts).
 */
export const HEAP_BASE = 524288;

/** Scratch of the kernels of one thread (assembly/layout.ts). */
export const SCRATCH_BYTES = 458752;

/** Where that of the first thread lies. */
export const SCRATCH_BASE = HEAP_BASE - SCRATCH_BYTES;

/** All a 32-bit memory can hold but for its last page, so that every end is a number of 32 bits, too. */
export const MAXIMUM_BYTES = 65535 * PAGE;

/** Memory grows by doubling up to this many bytes at once, or by exactly what is missing. */
const LARGEST_STEP = 64 * 1024 * 1024;

/**
 * Pieces up to so many alignment units, when given back, wait to be handed out again as they are: a
 * step asks for the same ones over and over.
 */
const LARGEST_WAITING = 1024;

/** All that wait take no more than this. */
const WAITING_BYTES = 2 ** 20;

/** What stands in place of the size of a piece that was given back and waits. */
const WAITS = 0xffffffff;

/** One linear memory with an allocator: what tensors of the wasm backend live in. */
export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  private readonly allocator: Allocator;
  private readonly maximumBytes: number;
  /** Bytes asked for by address, or `WAITS`. */
  private readonly sizes = new AddressMap();
  /** Addresses of pieces that wait, by how many alignment units they take. */
  private readonly waiting: number[][] = Array.from({ length: LARGEST_WAITING + 1 }, () => []);
  private waitingBytes = 0;
  private bytes = 0;
  private allocations = 0;
  private peakBytes = 0;

  /**
   * @param initialBytes what tensors may take before memory has to grow
   * @param maximumBytes of the whole memory; rounded down to pages of 64 KiB
   * @param shared between threads; views of it then look at a SharedArrayBuffer, which digests of
   *   Web Crypto, decoders of text and messages do not take: copy first (`slice`)
   * @throws BackendError when the system has no such memory to give
   */
  constructor(initialBytes: number, maximumBytes: number, shared = false) {
    const maximum = Math.floor(Math.min(maximumBytes, MAXIMUM_BYTES) / PAGE);
    const initial = Math.min(maximum, Math.ceil((HEAP_BASE + initialBytes) / PAGE));
    this.maximumBytes = maximum * PAGE;
    this.shared = shared;
    try {
      this.memory = new WebAssembly.Memory({ initial, maximum, shared });
    } catch (cause) {
      throw new BackendError(`wasmBackend: no memory of ${initial} pages of 64 KiB`, { cause });
    }
    if (initial * PAGE < HEAP_BASE) {
      throw new BackendError(`wasmBackend: ${maximumBytes} bytes are less than kernels need`);
    }
    this.allocator = new Allocator(HEAP_BASE, initial * PAGE, (end) => this.grow(end));
  }

  /**
   * Address of `numel` uninitialised elements, 64-byte aligned.
   * @throws BackendError when memory cannot grow that far
   */
  alloc(dtype: DType, numel: number): number {
    const size = numel * bytesPerElement(dtype);
    const units = unitsOf(size);
    let address = units <= LARGEST_WAITING ? this.waiting[units].pop() : undefined;
    if (address === undefined) {
      address = this.allocator.fit(size) ?? this.allocAfterAll(size);
    } else {
      this.waitingBytes -= units * ALIGNMENT;
    }
    this.sizes.set(address, size);
    this.allocations++;
    this.bytes += size;
    if (this.bytes > this.peakBytes) this.peakBytes = this.bytes;
    return address;
  }

  /** @throws BackendError when nothing was allocated there (any more) */
  free(address: number): void {
    const size = this.sizes.get(address);
    if (size === undefined || size === WAITS) {
      throw new BackendError(`free: no memory was allocated at address ${address}`);
    }
    this.allocations--;
    this.bytes -= size;
    const units = unitsOf(size);
    const taken = units * ALIGNMENT;
    if (units > LARGEST_WAITING || this.waitingBytes + taken > WAITING_BYTES) {
      this.sizes.delete(address);
      this.allocator.free(address);
      return;
    }
    this.sizes.set(address, WAITS);
    this.waitingBytes += taken;
    this.waiting[units].push(address);
  }

  /** The elements themselves, until memory grows the next time (any `alloc` may do that). */
  view(address: number, dtype: DType, numel: number): TypedArray {
    return viewTypedArray(dtype, this.memory.buffer, address, numel);
  }

  /** Bytes asked for and not given back, the most of them ever, and in how many pieces. */
  usage(): { bytes: number; peakBytes: number; allocations: number } {
    return { bytes: this.bytes, peakBytes: this.peakBytes, allocations: this.allocations };
  }

  /** Before memory grows, what waits is joined with what is free beside it. */
  private allocAfterAll(size: number): number {
    for (const address of this.waiting.flat()) {
      this.sizes.delete(address);
      this.allocator.free(address);
    }
    for (const list of this.waiting) list.length = 0;
    this.waitingBytes = 0;
    return this.allocator.alloc(size);
  }

  private grow(end: number): number {
    const now = this.memory.buffer.byteLength;
    const comfortable = Math.max(end, now + Math.min(now, LARGEST_STEP));
    for (const wanted of [Math.min(comfortable, this.maximumBytes), end]) {
      const pages = Math.ceil((wanted - now) / PAGE);
      if (wanted < end) continue;
      try {
        this.memory.grow(pages);
        return this.memory.buffer.byteLength;
      } catch {
        // Above the maximum, or the system has no more: try less.
      }
    }
    throw new BackendError(
      `alloc: out of memory, ${end} bytes needed, wasm memory has ${now} and at most ${this.maximumBytes}`,
    );
  }
}
