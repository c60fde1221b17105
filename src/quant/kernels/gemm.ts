import { qb4wScaleLayout, qb4wScalePlace, readQb4wScales, SUPER_BLOCK } from '../qb4w-scales.ts';
import { BLOCK, PANEL, ZERO_POINT } from '../types.ts';

const fround = Math.fround;

/** Offset (bytes) of weight [column, i] of a panel in `qc8w`: [Kp/4][8 columns][4]. */
export function offsetQc8w(column: number, i: number): number {
  return (i >> 2) * 32 + column * 4 + (i & 3);
}

/**
 * Offset (bytes) of weight [column, i] of a panel in `qb4w`: [Kp/8][8 columns][4]; the low nibble
 * holds i = 0..3 of the eight, the high one i = 4..7.
 */
export function offsetQb4w(column: number, i: number): number {
  return (i >> 3) * 32 + column * 4 + (i & 3);
}

/** How a format's weights are read. */
interface ColumnReader {
  /** Inputs of a run at the most. */
  readonly run: number;
  /** Fills `weights` [Kp] with the stored integers of output j. */
  column(weights: Uint8Array, panel: number, column: number): void;
  /** f32 of the run of a row that begins at `start`: of what each 32 inputs of it give. */
  term(panel: number, column: number, blocks: readonly BlockSums[], start: number): number;
  /** The factor of the whole sum of an output; undefined: none. */
  factor(panel: number, column: number): number | undefined;
}

/** What a row's 32 inputs give: the integer dot with the weights, and their own sum. */
interface BlockSums {
  readonly dot: number;
  readonly sum: number;
}

/** The arithmetic that `GemmKernel` fixes, over any format. */
function gemm(
  out: Float32Array,
  data: Int8Array,
  actScales: Float32Array,
  sums: Int32Array,
  reader: ColumnReader,
  bias: Float32Array | null,
  residual: Float32Array | null,
  m: number,
  n: number,
  kp: number,
  actGroup: number,
): void {
  const run = Math.min(actGroup, reader.run, kp);
  const actGroups = Math.ceil(kp / actGroup);
  const weights = new Uint8Array(kp);
  for (let j = 0; j < n; j++) {
    const panel = Math.floor(j / PANEL);
    const column = j % PANEL;
    reader.column(weights, panel, column);
    for (let row = 0; row < m; row++) {
      let y = 0;
      for (let start = 0; start < kp; start += run) {
        const end = Math.min(kp, start + run);
        const blocks: BlockSums[] = [];
        for (let from = start; from < end; from += BLOCK) {
          let dot = 0;
          for (let i = from; i < from + BLOCK; i++) dot += data[row * kp + i] * weights[i];
          blocks.push({ dot, sum: sums[(row * kp + from) / BLOCK] });
        }
        let t = reader.term(panel, column, blocks, start);
        if (actGroups > 1) {
          t = fround(t * actScales[row * actGroups + Math.floor(start / actGroup)]);
        }
        y = fround(y + t);
      }
      const factor = reader.factor(panel, column);
      if (factor !== undefined) y = fround(y * factor);
      if (actGroups === 1) y = fround(y * actScales[row]);
      if (bias) y = fround(y + bias[j]);
      if (residual) y = fround(y + residual[row * n + j]);
      out[row * n + j] = y;
    }
  }
}

/** Scalar twin of `gemmQd8F32Qc8w`. */
export function gemmQd8F32Qc8wRef(
  out: Float32Array,
  data: Int8Array,
  actScales: Float32Array,
  sums: Int32Array,
  packed: Uint8Array,
  scales: Float32Array,
  bias: Float32Array | null,
  residual: Float32Array | null,
  _scratch: null,
  m: number,
  n: number,
  kp: number,
  actGroup: number,
  weightGroup: number,
): void {
  const groups = Math.ceil(kp / weightGroup);
  const scaleOf = (panel: number, column: number, i: number) =>
    scales[(panel * groups + Math.floor(i / weightGroup)) * PANEL + column];
  const reader: ColumnReader = {
    run: weightGroup,
    column: (weights, panel, column) => {
      const base = panel * kp * PANEL;
      for (let i = 0; i < kp; i++) weights[i] = packed[base + offsetQc8w(column, i)];
    },
    term: (panel, column, blocks, start) => {
      let total = 0;
      for (const { dot, sum } of blocks) total += dot - ZERO_POINT * sum;
      const t = fround(total);
      return groups > 1 ? fround(t * scaleOf(panel, column, start)) : t;
    },
    factor: (panel, column) => (groups > 1 ? undefined : scaleOf(panel, column, 0)),
  };
  gemm(out, data, actScales, sums, reader, bias, residual, m, n, kp, actGroup);
}

/** Scalar twin of `gemmQd8F32Qb4w`. */
export function gemmQd8F32Qb4wRef(
  out: Float32Array,
  data: Int8Array,
  actScales: Float32Array,
  sums: Int32Array,
  packed: Uint8Array,
  scales: Uint8Array,
  bias: Float32Array | null,
  residual: Float32Array | null,
  _scratch: null,
  m: number,
  n: number,
  kp: number,
  actGroup: number,
  weightGroup: number,
): void {
  const layout = qb4wScaleLayout(kp, weightGroup);
  const scalesOf = (panel: number, column: number, i: number) =>
    readQb4wScales(scales, panel * layout.bytes, qb4wScalePlace(layout, weightGroup, column, i));
  const reader: ColumnReader = {
    run: SUPER_BLOCK,
    column: (weights, panel, column) => {
      const base = (panel * kp * PANEL) / 2;
      for (let i = 0; i < kp; i++) {
        weights[i] = (packed[base + offsetQb4w(column, i)] >> (i & 4)) & 15;
      }
    },
    term: (panel, column, blocks, start) => {
      let total = 0;
      blocks.forEach(({ dot, sum }, b) => {
        const { scale, min } = scalesOf(panel, column, start + b * BLOCK);
        total += scale * dot + min * sum;
      });
      return fround(fround(total) * scalesOf(panel, column, start).superScale);
    },
    factor: () => undefined,
  };
  gemm(out, data, actScales, sums, reader, bias, residual, m, n, kp, actGroup);
}
