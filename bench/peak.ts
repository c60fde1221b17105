// The ceilings of this machine, measured in the same run as the kernels: loops of multiply-accumulates
// that touch registers alone, and passes over memory that do nothing else. The instructions are those
// that the kernels are made of, in modules assembled here byte by byte, so that no compiler of ours
// stands between the loop and the engine.
import { hasRelaxedSimd } from '../src/tensor/backends/wasm/features.ts';

/** How products are summed; each has a ceiling of its own. */
export type Arithmetic =
  | 'f32 mul, add'
  | 'f32 relaxed madd'
  | 'i16 dot'
  | 'relaxed i32 dot'
  | 'relaxed i16 dot'
  | 'relaxed i16 dot of nibbles';

/** Bytes of numbers in LEB128, unsigned: the wire of WebAssembly. */
function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
  return [...bytes, rest];
}

/** Signed. */
function sleb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest < -64 || rest > 63) {
    bytes.push((rest & 127) | 128);
    rest >>= 7;
  }
  return [...bytes, rest & 127];
}

const simd = (opcode: number) => [0xfd, ...leb(opcode)];
const get = (local: number) => [0x20, ...leb(local)];
const set = (local: number) => [0x21, ...leb(local)];
const i32 = (value: number) => [0x41, ...sleb(value)];

/** Opcodes of the core specification and of relaxed SIMD. */
const OP = {
  load: [...simd(0), 4],
  i8x16Splat: simd(0x0f),
  i16x8Splat: simd(0x10),
  f32x4Splat: simd(0x13),
  lane0: [...simd(0x1b), 0],
  xor: simd(0x51),
  i16x8Add: simd(0x8e),
  i32x4Add: simd(0xae),
  i32x4Dot: simd(0xba),
  f32x4Add: simd(0xe4),
  f32x4Mul: simd(0xe6),
  madd: simd(0x105),
  relaxedDotI16: simd(0x112),
  relaxedDotAddI32: simd(0x113),
  f32Zero: [0x43, 0x00, 0x00, 0x00, 0x00],
  f32One: [0x43, 0x00, 0x00, 0x80, 0x3f],
};

const section = (id: number, content: number[]) => [id, ...leb(content.length), ...content];

/** A module of one function `run` over `vectors` vector locals behind its i32 parameters. */
function moduleOf(
  parameters: number,
  vectors: number,
  body: number[],
  pages: number,
): Uint8Array<ArrayBuffer> {
  const code = [1, ...leb(vectors), 0x7b, ...body, 0x0b];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [1, 0x60, parameters, ...new Array(parameters).fill(0x7f), 1, 0x7f]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, ...leb(pages)]),
    ...section(7, [2, 3, 0x72, 0x75, 0x6e, 0, 0, 3, 0x6d, 0x65, 0x6d, 2, 0]),
    ...section(10, [1, ...leb(code.length), ...code]),
  ]);
}

interface Loaded {
  run(first: number, second?: number): number;
  readonly mem: WebAssembly.Memory;
}

function load(bytes: Uint8Array<ArrayBuffer>): Loaded {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  return exports as unknown as Loaded;
}

/** Local 0 counts down; vectors are numbered from 1. */
function countedLoop(parts: readonly number[][]): number[] {
  return [0x03, 0x40, ...parts.flat(), ...get(0), ...i32(1), 0x6b, 0x22, 0, 0x0d, 0, 0x0b];
}

/** A lane of all vectors together, so that none of them is for nothing. */
function checksum(vectors: readonly number[]): number[] {
  return [
    ...get(vectors[0]),
    ...vectors.slice(1).flatMap((v) => [...get(v), ...OP.xor]),
    ...OP.lane0,
  ];
}

/** Steps in a loop, a chain after the other: its counter then costs nothing. */
const UNROLL = 4;

/** Sums that grow at a time: as many as hide the latency of an instruction, and fit 16 registers. */
const [CHAINS, NIBBLE_CHAINS] = [12, 10];

/** Eight products of a signed byte and a nibble, in pairs, fit 16 bits. */
const NIBBLE_RUN = 8;

/** A loop and the operations of one pass: a product is one, a sum another. */
interface PeakLoop {
  readonly ops: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Where an instruction does not take the sum as operand, the sum itself is multiplied: engines compute
 * equal products once, and these are never equal.
 */
function peakLoop(arithmetic: Arithmetic): PeakLoop {
  const nibbles = arithmetic === 'relaxed i16 dot of nibbles';
  const chains = nibbles ? NIBBLE_CHAINS : CHAINS;
  const [x, ones, wide] = [chains + 1, chains + 2, chains + 3];
  const float = arithmetic.startsWith('f32');
  const dot32 = [...get(ones), ...OP.i32x4Dot];
  const steps: Readonly<Record<Arithmetic, (sum: number[]) => number[]>> = {
    'f32 mul, add': (sum) => [...sum, ...sum, ...get(x), ...OP.f32x4Mul, ...OP.f32x4Add],
    'f32 relaxed madd': (sum) => [...get(x), ...get(ones), ...sum, ...OP.madd],
    'i16 dot': (sum) => [...sum, ...sum, ...get(x), ...OP.i32x4Dot, ...OP.i32x4Add],
    'relaxed i32 dot': (sum) => [...get(x), ...get(ones), ...sum, ...OP.relaxedDotAddI32],
    // What narrowDot of quant/assembly/dot.ts does.
    'relaxed i16 dot': (sum) => [
      ...[...sum, ...sum, ...get(x), ...OP.relaxedDotI16],
      ...[...dot32, ...OP.i32x4Add],
    ],
    'relaxed i16 dot of nibbles': (sum) => [
      ...[...sum, ...sum, ...get(x), ...OP.relaxedDotI16, ...OP.i16x8Add],
    ],
  };
  const locals = Array.from({ length: chains }, (_, i) => i + 1);
  const step = locals.flatMap((local) => [...steps[arithmetic](get(local)), ...set(local)]);
  const run: number[] = new Array(nibbles ? NIBBLE_RUN : 1).fill(step).flat();
  if (nibbles) {
    for (const local of locals) {
      run.push(...get(wide), ...get(local), ...dot32, ...OP.i32x4Add, ...set(wide));
    }
  }
  // Numbers that stay what they are: floats are multiplied by 0.
  const fill = (local: number, value: number) =>
    float
      ? [...(value ? OP.f32One : OP.f32Zero), ...OP.f32x4Splat, ...set(local)]
      : [...i32(value), ...(local === ones ? OP.i16x8Splat : OP.i8x16Splat), ...set(local)];
  const body = [
    ...locals.flatMap((local) => fill(local, local)),
    ...[...fill(x, float ? 0 : 5), ...fill(ones, 1)],
    ...countedLoop(new Array(UNROLL).fill(run)),
    ...checksum([wide, ...locals]),
  ];
  const lanes = float ? 4 : arithmetic === 'i16 dot' ? 8 : 16;
  const ops = 2 * lanes * chains * UNROLL * (nibbles ? NIBBLE_RUN : 1);
  return { ops, bytes: moduleOf(1, wide, body, 0) };
}

/** Seconds of a slice of work, and slices of which the fastest counts: others take from the rest. */
const [SLICE_SECONDS, SLICES] = [0.004, 8];

/** Fewest seconds of one call of `run`, in processor time: what others take does not count. */
function fastest(run: () => void): number {
  const timed = (calls: number) => {
    const from = process.cpuUsage();
    for (let i = 0; i < calls; i++) run();
    const { user, system } = process.cpuUsage(from);
    return (user + system) / 1e6 / calls;
  };
  run();
  const calls = Math.max(1, Math.round(SLICE_SECONDS / Math.max(1e-6, timed(1))));
  return Math.min(...Array.from({ length: SLICES }, () => timed(calls)));
}

/** Rounds of a loop in one call. */
const ROUNDS = 4000;

/** Times that all loops are measured, a round after the other: a slow moment then hits none alone. */
const REPEATS = 3;

const ALL: readonly Arithmetic[] = [
  'f32 mul, add',
  'f32 relaxed madd',
  'i16 dot',
  'relaxed i32 dot',
  'relaxed i16 dot',
  'relaxed i16 dot of nibbles',
];

let peaks: Map<Arithmetic, number> | undefined;

/**
 * 10^9 operations a second that one thread does at most, of every arithmetic that this engine has;
 * measured at the first call.
 */
export function allPeaks(): ReadonlyMap<Arithmetic, number> {
  if (peaks) return peaks;
  peaks = new Map();
  const loops = ALL.filter((one) => !one.includes('relaxed') || hasRelaxedSimd()).map((one) => {
    const { ops, bytes } = peakLoop(one);
    const { run } = load(bytes);
    // The engine compiles a loop better once it has run for a while.
    for (let i = 0; i < 50; i++) run(ROUNDS);
    return { one, ops, run };
  });
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    for (const { one, ops, run } of loops) {
      const gops = (ops * ROUNDS) / fastest(() => run(ROUNDS)) / 1e9;
      peaks.set(one, Math.max(gops, peaks.get(one) ?? 0));
    }
  }
  return peaks;
}

/** The ceiling of one; 0 where the engine has not got it. */
export const peakOf = (arithmetic: Arithmetic): number => allPeaks().get(arithmetic) ?? 0;

const PAGE = 65_536;

/** Footprints over which bandwidth is measured: from within a core's own cache to beyond all caches. */
export const SMALLEST_FOOTPRINT = 2 ** 17;
export const LARGEST_FOOTPRINT = 2 ** 27;

let reader: Loaded | undefined;
const bandwidths = new Map<number, number>();

/** xor of all vectors from one address to another, eight a turn into four. */
function readLoop(): Loaded {
  const loads = Array.from({ length: 8 }, (_, i) => [
    ...[...get(2 + (i % 4)), ...get(0), ...OP.load, ...leb(16 * i)],
    ...[...OP.xor, ...set(2 + (i % 4))],
  ]).flat();
  const next = [...get(0), ...i32(128), 0x6a, 0x22, 0, ...get(1), 0x49, 0x0d, 0];
  const body = [0x03, 0x40, ...loads, ...next, 0x0b, ...checksum([2, 3, 4, 5])];
  const loaded = load(moduleOf(2, 4, body, LARGEST_FOOTPRINT / PAGE));
  // Untouched pages would all be one and the same.
  new Uint8Array(loaded.mem.buffer).fill(1);
  return loaded;
}

/**
 * 10^9 bytes a second that one thread reads at most when it passes over so many again and again: what
 * they fit into, a cache or memory alone, decides. Measured once a power of two.
 */
export function bandwidthAt(bytes: number): number {
  const power = 2 ** Math.ceil(Math.log2(Math.max(1, bytes)));
  const footprint = Math.min(LARGEST_FOOTPRINT, Math.max(SMALLEST_FOOTPRINT, power));
  const known = bandwidths.get(footprint);
  if (known !== undefined) return known;
  reader ??= readLoop();
  const { run } = reader;
  if (bandwidths.size === 0) for (let i = 0; i < 50; i++) run(0, SMALLEST_FOOTPRINT);
  const bandwidth = footprint / fastest(() => run(0, footprint)) / 1e9;
  bandwidths.set(footprint, bandwidth);
  return bandwidth;
}
