// The same operands through our kernel and the Rust one: bits first, then time.

import {
  installQuant,
  linearQuantized,
  packQc8w,
  type QuantizedRows,
  quantizeRows,
  type RelaxedDot,
} from '../../src/quant/index.ts';
import type { PackedLinear } from '../../src/quant/packed-linear.ts';
import { type Backend, keep, scope, tensor, wasmBackend } from '../../src/tensor/index.ts';
import { interleave, type Ratio, ratioOf } from '../interleave.ts';
import { valuesOf } from '../values.ts';
import type { RustKernels, RustVariant } from './toolchain.ts';

/** A product [M,K] x [K,N]. */
export type Size = readonly [m: number, k: number, n: number];

/** Sizes around a tile's edges: rows of 4 and 16, columns of 8, inputs of 32. */
const EDGES: readonly Size[] = [1, 3, 4, 5, 15, 17].flatMap((m) =>
  [1, 7, 8, 9, 33].flatMap((n) => [1, 31, 64, 65].map((k) => [m, k, n] as const)),
);

/** Sizes that are timed. */
const TIMED: readonly Size[] = [
  [128, 2048, 2048],
  [1, 2048, 2048],
  [128, 576, 1536],
  [1, 576, 1536],
];

const TIMING = { rounds: 11, sampleSeconds: 0.02 };

/** One size on one variant. */
export interface RustComparison {
  readonly variant: string;
  readonly size: Size;
  readonly oursGops: number;
  readonly rustGops: number;
  /** How many times as fast ours is. */
  readonly ratio: Ratio;
}

/** Operands in both memories. */
interface Pair {
  ours(): void;
  rust(): void;
  /** Both results. */
  results(): [ours: Float32Array, rust: Float32Array];
  dispose(): void;
}

function pairOf([m, k, n]: Size, backend: Backend, kernels: RustKernels, wide: boolean): Pair {
  const weight = packQc8w(valuesOf(n * k, 1), n, k, { backend }) as PackedLinear;
  const rows: QuantizedRows = scope(() => {
    const made = quantizeRows(tensor(valuesOf(m * k, 2), [m, k], { backend }));
    for (const one of [made.data, made.scales, made.sums]) keep(one);
    return made;
  });
  const taken: [address: number, bytes: number][] = [];
  const room = (bytes: number) => {
    const address = kernels.allocate(bytes);
    taken.push([address, bytes]);
    return address;
  };
  const put = (array: ArrayBufferView) => {
    const address = room(array.byteLength);
    const from = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    new Uint8Array(kernels.memory.buffer).set(from, address);
    return address;
  };
  const operands = [
    put(rows.data.toArray()),
    put(rows.scales.toArray()),
    put(rows.sums.toArray()),
    put(weight.packed.toArray()),
    put(weight.scales.toArray()),
  ] as const;
  const out = room(4 * m * n);
  const rust = () => kernels.gemm(out, ...operands, m, n, weight.paddedInner, wide);
  return {
    ours: () => scope(() => void linearQuantized(rows, weight)),
    rust,
    results() {
      rust();
      const got = new Float32Array(kernels.memory.buffer, out, m * n).slice();
      return [scope(() => linearQuantized(rows, weight).toFloat32()), got];
    },
    dispose() {
      for (const [address, bytes] of taken) kernels.release(address, bytes);
      for (const one of [rows.data, rows.scales, rows.sums]) one.dispose();
      weight.dispose();
    },
  };
}

/** @throws Error naming the first element in which the two differ */
function checkEqual(size: Size, [ours, rust]: [Float32Array, Float32Array]): void {
  const at = ours.findIndex((value, i) => !Object.is(value, rust[i]));
  if (at >= 0) {
    throw new Error(`${size.join('x')}: [${at}] is ${ours[at]} here and ${rust[at]} in Rust`);
  }
}

/** Checks a variant at all sizes; gives how many, and the times of some. */
export async function compareRust(
  kernels: RustKernels,
  variant: RustVariant,
  say: (line: string) => void,
): Promise<{ checked: number; comparisons: RustComparison[] }> {
  const dots: (RelaxedDot | undefined)[] = variant === 'relaxed' ? ['i16', 'i32'] : [undefined];
  const comparisons: RustComparison[] = [];
  let checked = 0;
  for (const dot of dots) {
    const backend = wasmBackend({ variant });
    installQuant(backend, { variant, dot });
    const label = dot ? `${variant} (${dot} dot)` : variant;
    say(`${label}: comparing ${EDGES.length + TIMED.length} sizes`);
    for (const size of [...EDGES, ...TIMED]) {
      const pair = pairOf(size, backend, kernels, dot === 'i32');
      try {
        checkEqual(size, pair.results());
        checked++;
        if (!TIMED.includes(size)) continue;
        say(`${label}: timing ${size.join('x')}`);
        const [ours, rust] = await interleave(
          [
            { name: 'ours', run: pair.ours },
            { name: 'rust', run: pair.rust },
          ],
          TIMING,
        );
        const gops = (seconds: number) => (2 * size[0] * size[1] * size[2]) / seconds / 1e9;
        comparisons.push({
          variant: label,
          size,
          oursGops: gops(ours.median),
          rustGops: gops(rust.median),
          ratio: ratioOf(rust, ours),
        });
      } finally {
        pair.dispose();
      }
    }
  }
  return { checked, comparisons };
}
