import {
  type HeadKind,
  SIDE_RMS_EPS,
  type SideName,
  type SideShape,
} from '../../src/model/index.ts';
import { erf } from '../../src/tensor/backends/cpu/erf.ts';
import { random } from '../../src/tensor/index.ts';

/** Parameters by path, row-major, in float64: what `flatten` names. */
export type NaiveParams = ReadonlyMap<string, Float64Array>;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const gelu = (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2));

/** `x [K] W [K,N]` row-major. */
function times(x: readonly number[], w: Float64Array): number[] {
  const columns = w.length / x.length;
  return Array.from({ length: columns }, (_, n) =>
    x.reduce((sum, value, k) => sum + value * w[k * columns + n], 0),
  );
}

/** One row (of kind k of one sample) through a side model, up to the states that its head reads. */
function statesOf(
  name: SideName,
  head: HeadKind,
  p: NaiveParams,
  taps: readonly number[][],
): number[][] {
  const get = (path: string) => p.get(path) as Float64Array;
  const last = taps[taps.length - 1];
  if (name === 'probe') return [last];
  if (name === 'mix') {
    const logits = get('weights');
    const total = logits.reduce((sum, w) => sum + Math.exp(w), 0);
    return [
      last.map((_, i) =>
        taps.reduce((sum, tap, l) => sum + (Math.exp(logits[l]) / total) * tap[i], 0),
      ),
    ];
  }
  const rms = (x: readonly number[]) => {
    const root = Math.sqrt(x.reduce((sum, z) => sum + z * z, 0) / x.length + SIDE_RMS_EPS);
    return x.map((z) => z / root);
  };
  if (name === 'ladder' || name === 'quantized-side') {
    const merged = name === 'quantized-side';
    let below: number[] | undefined;
    const rungs = taps.map((tap, l) => {
      const narrow = times(tap, get(`down.${l}`));
      const given = merged ? times(narrow, get(`widen.${l}`)) : narrow;
      const mu = sigmoid(get('alpha')[l]);
      const x = given.map((value, i) => (1 - mu) * value + mu * (below ?? given)[i]);
      const added = times(times(rms(x), get(`inner.${l}`)).map(gelu), get(`outer.${l}`));
      below = x.map((value, i) => value + added[i]);
      if (!merged) return rms(below);
      const [share] = get('share');
      const wide = times(below, get('up'));
      return rms(tap.map((a, i) => (1 - share) * a + share * wide[i]));
    });
    return head === 'dense' ? rungs : rungs.slice(-1);
  }
  const g = sigmoid(get('beta')[0]);
  let s = taps[0];
  const states = taps.map((tap, l) => {
    const mu = sigmoid(get('alpha')[l]);
    const x = tap.map((a, i) => (1 - mu) * a + mu * s[i]);
    const added = times(times(x, get(`down.${l}`)).map(gelu), get(`up.${l}`));
    s = x.map((value, i) => value + added[i]);
    const merged = tap.map((a, i) => g * s[i] + (1 - g) * a);
    return rms(merged);
  });
  return head === 'dense' ? states : states.slice(-1);
}

/**
 * Logits `[B][C]` of a side model by its formula in float64, a sample at a time.
 * @param taps A_1..A_L, each `[B*K, D]` row-major
 */
export function naiveSideLogits(
  name: SideName,
  shape: SideShape,
  params: NaiveParams,
  taps: readonly ArrayLike<number>[],
  head: HeadKind,
): number[][] {
  const { width, kinds, classes } = shape;
  if (name === 'kernel') return kernelLogits(shape, params, taps);
  const prefix = name === 'probe' ? '' : 'head.';
  const weight = params.get(`${prefix}weight`) as Float64Array;
  const bias = params.get(`${prefix}bias`) as Float64Array;
  const samples = taps[0].length / (kinds * width);
  return Array.from({ length: samples }, (_, b) => {
    const byKind = Array.from({ length: kinds }, (_, k) => {
      const from = (b * kinds + k) * width;
      const rows = taps.map((tap) => Array.from({ length: width }, (_, i) => tap[from + i]));
      return statesOf(name, head, params, rows);
    });
    const states = byKind[0].map((_, m) => byKind.map((ofKind) => ofKind[m])).flat(2);
    const features = states.map((z) => z / Math.sqrt(byKind[0].length));
    return Array.from({ length: classes }, (_, c) =>
      features.reduce((sum, f, i) => sum + f * weight[c * features.length + i], bias[c]),
    );
  });
}

/** Cosines and sines of sqrt(P) H D_3 H D_2 H D_1 x, the matrices multiplied out; then a linear head. */
function kernelLogits(
  { width, kinds, classes }: SideShape,
  params: NaiveParams,
  taps: readonly ArrayLike<number>[],
): number[][] {
  const get = (path: string) => params.get(path) as Float64Array;
  const [scales, weight, bias] = [get('scales'), get('weight'), get('bias')];
  const count = weight.length / classes / 2;
  const size = 2 ** Math.ceil(Math.log2(taps.length * kinds * width));
  const rng = random(0).fork('direction features');
  const sign = Array.from({ length: Math.ceil(count / size) * 3 * size }, () =>
    rng.bits() % 2 === 0 ? 1 : -1,
  );
  const bits = (i: number): number => (i === 0 ? 0 : (i & 1) + bits(i >> 1));
  const even = Array.from({ length: size }, (_, i) => bits(i) % 2 === 0);
  const hadamard = (x: readonly number[]) =>
    x.map((_, i) => x.reduce((sum, v, j) => sum + (even[i & j] ? v : -v), 0) / Math.sqrt(size));
  const samples = taps[0].length / (kinds * width);
  return Array.from({ length: samples }, (_, b) => {
    const x = Array<number>(size).fill(0);
    for (let block = 0; block < taps.length * kinds; block++) {
      const from = (b * kinds + (block % kinds)) * width;
      const tap = taps[Math.floor(block / kinds)];
      const row = Array.from({ length: width }, (_, i) => tap[from + i]);
      row.forEach((v, i) => {
        x[block * width + i] = (scales[block] * v) / Math.hypot(...row);
      });
    }
    const angles: number[] = [];
    while (angles.length < count) {
      let z = x;
      for (let round = 0; round < 3; round++) {
        const first = 3 * angles.length + round * size;
        z = hadamard(z.map((v, i) => v * sign[first + i]));
      }
      angles.push(...z.slice(0, count - angles.length).map((v) => Math.sqrt(size) * v));
    }
    const features = [...angles.map(Math.cos), ...angles.map(Math.sin)];
    return Array.from(bias, (start, c) =>
      features.reduce(
        (sum, v, j) => sum + (v / Math.sqrt(count)) * weight[c * features.length + j],
        start,
      ),
    );
  });
}

/** Mean cross-entropy in nats. */
export function naiveLoss(logits: readonly number[][], targets: ArrayLike<number>): number {
  const losses = logits.map((row, b) => {
    const top = Math.max(...row);
    return top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0)) - row[targets[b]];
  });
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}
