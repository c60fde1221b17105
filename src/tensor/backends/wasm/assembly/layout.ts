// Where the kernels keep what they pack. The bytes below the allocator's heap base (HEAP_BASE in
// ../memory.ts, 512 KiB) are divided once and for all:
//
//   0 ..   1 KiB   never used, so that address 0 can mean "not there"
//   1 ..  32 KiB   static data of this module    (--memoryBase in scripts/build-wasm.mjs)
//  32 ..  64 KiB   static data of src/quant's module
//  64 .. 512 KiB   scratch of this module, below: no kernel keeps anything there after it returned
//
// That is the first thread's scratch. Each further thread that computes over the memory is given
// one of its own, SCRATCH_BYTES of ../memory.ts, anywhere in the heap.

/** Where this thread's scratch begins: every instance of the module is told at its start. */
// @ts-ignore: a decorator
@external("env", "scratch")
declare const SCRATCH: usize;

/** One tile of results, when it does not fit into the output whole: 6 x 8 f32. */
export const SCRATCH_TILE: usize = SCRATCH;

/** Six rows of A, each element in all lanes, `[k][6][4]`, at most KC deep: 18 KiB of the first cache. */
export const SCRATCH_A: usize = SCRATCH + 1024;

/** A block of B, packed `[n/8][k][8]`, at most NC x KC: 384 KiB, for the second cache. */
export const SCRATCH_B: usize = SCRATCH + 32768;

/** Columns of B and depth that one packed block holds. */
export const NC: i32 = 512;
export const KC: i32 = 192;

/**
 * Attention: queries and keys of one tile of scores. More queries would share a tile of keys, which
 * stays in the first cache anyway, but see more keys in vain beyond the diagonal.
 */
export const QUERIES: i32 = 16;
export const KEYS: i32 = 64;

/** Two tiles of scores [QUERIES, KEYS] and three statistics a query; these share B's place. */
export const SCRATCH_SCORES: usize = SCRATCH + 32768;
export const SCRATCH_DSCORES: usize = SCRATCH + 32768 + 4096;
export const SCRATCH_MAX: usize = SCRATCH + 32768 + 8192;
export const SCRATCH_SUM: usize = SCRATCH + 32768 + 8192 + 64;
export const SCRATCH_DOT: usize = SCRATCH + 32768 + 8192 + 128;
