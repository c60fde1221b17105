// Not by barrels: a browser loads this file without a bundler.
import { SIDE_RMS_EPS } from '../model/side/parallel.ts';
import type { SideShape } from '../model/side/side-model.ts';
import type { ChannelAffine } from '../model/side/tap-statistics.ts';
import { sampleBytes, type TapCodec, type TapDropout } from '../model/side/taps.ts';
import { ACTIVATION_GROUP_SIZE } from '../quant/codec.ts';
import { codeLevels, emptyCodeWords, rowToWords } from '../quant/codec-words.ts';
import {
  type Backend,
  CODE_WORD_BITS,
  dequantizeCodes,
  full,
  mul,
  reshape,
  rmsNorm,
  sub,
  type Tensor,
  tensor,
} from '../tensor/index.ts';

/** Rows of one layer as they were received, on a backend: what a step decodes itself. */
export interface PackedLayer {
  readonly words: Tensor;
  readonly groupScales: Tensor;
  /** One bit a value, 1 where training drops it; absent where it drops none. */
  readonly dropped?: Tensor;
}

/** Taps of some samples, layer by layer. */
export interface PackedTaps {
  readonly layers: readonly PackedLayer[];
}

/** What turns codes into taps, and is the same for all samples: on a backend, layer by layer. */
export interface TapChannels {
  readonly levels: Tensor | null;
  /** Of the codec, each `[K, D]`. */
  readonly calibration: readonly { readonly scale: Tensor; readonly mean: Tensor }[];
  /** Of the training rows, each `[K*D]`. */
  readonly standardizer: readonly { readonly scale: Tensor; readonly mean: Tensor }[];
  /** For dropped values: what 0 and 1 stand for, and channels that change nothing. */
  readonly dropout?: { readonly levels: Tensor; readonly one: Tensor; readonly zero: Tensor };
}

/** Channels `[L, K, D]` cut into layers. */
function byLayer(
  { mean, scale }: ChannelAffine,
  layers: number,
  shape: number[],
  backend: Backend,
) {
  const block = mean.length / layers;
  const part = (values: Float32Array, l: number) =>
    tensor(values.slice(l * block, (l + 1) * block), shape, { backend });
  return Array.from({ length: layers }, (_, l) => ({ mean: part(mean, l), scale: part(scale, l) }));
}

/** Puts the channels onto a backend. */
export function tapChannels(
  shape: SideShape,
  codec: TapCodec,
  standardizer: ChannelAffine,
  rate: number,
  backend: Backend,
): TapChannels {
  const { layers, kinds, width } = shape;
  const levels = codeLevels(codec.bits);
  const row = (values: number[]) => tensor(Float32Array.from(values), [values.length], { backend });
  return {
    levels: levels && tensor(levels, [levels.length], { backend }),
    calibration: byLayer(codec.calibration, layers, [kinds, width], backend),
    standardizer: byLayer(standardizer, layers, [kinds * width], backend),
    ...(rate > 0 && {
      dropout: {
        levels: row([1 / (1 - rate), 0]),
        one: full([1, width], 1, backend),
        zero: full([1, width], 0, backend),
      },
    }),
  };
}

/** Puts samples' records onto a backend as they are, and what a step drops of them. */
export function packTaps(
  records: Uint8Array,
  samples: number,
  shape: SideShape,
  codec: TapCodec,
  backend: Backend,
  dropout?: TapDropout,
): PackedTaps {
  const { layers, kinds, width } = shape;
  const { bits } = codec;
  const record = sampleBytes(shape, bits);
  const rowBytes = record / (layers * kinds);
  const rows = samples * kinds;
  const matrix = (values: Float32Array) =>
    tensor(values, [rows, values.length / rows], { backend });
  return {
    layers: Array.from({ length: layers }, (_, layer) => {
      const out = emptyCodeWords(rows, width, bits);
      for (let r = 0; r < rows; r++) {
        const place = layer * kinds + (r % kinds);
        const from = Math.floor(r / kinds) * record + place * rowBytes;
        rowToWords(records.subarray(from, from + rowBytes), width, bits, out, r);
      }
      return {
        words: matrix(out.words),
        groupScales: matrix(out.groupScales),
        ...(dropout && { dropped: matrix(droppedWords(rows, width, dropout)) }),
      };
    }),
  };
}

/** A bit a value, in words of 24: in the order, and by the numbers, in which `tapTensors` drops. */
function droppedWords(rows: number, width: number, { rate, rng }: TapDropout): Float32Array {
  const perRow = Math.ceil(width / CODE_WORD_BITS);
  const words = new Float32Array(rows * perRow);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < width; i++) {
      if (rng.uniform() >= rate) continue;
      words[r * perRow + Math.floor(i / CODE_WORD_BITS)] += 2 ** (i % CODE_WORD_BITS);
    }
  }
  return words;
}

/** What `tapTensors` gives of the same samples, computed by the backend: A_1..A_L, each `[B*K, D]`. */
export function unpackTaps(packed: PackedTaps, channels: TapChannels, shape: SideShape): Tensor[] {
  const { kinds, width, classes } = shape;
  const { levels, dropout } = channels;
  const last: Tensor[] = [];
  const taps = packed.layers.map(({ words, groupScales, dropped }, l) => {
    const { scale, mean } = channels.calibration[l];
    const codes = { words, levels, groupScales, group: ACTIVATION_GROUP_SIZE, scale, shift: mean };
    const rows = rmsNorm(dequantizeCodes(codes), null, SIDE_RMS_EPS);
    if (classes === 0 && l === packed.layers.length - 1) last.push(rows);
    const [count] = rows.shape;
    const standard = channels.standardizer[l];
    const samples = reshape(rows, [count / kinds, kinds * width]);
    const tap = reshape(mul(sub(samples, standard.mean), standard.scale), [count, width]);
    if (!dropped || !dropout) return tap;
    const { one, zero } = dropout;
    const kept = dequantizeCodes({
      ...{ words: dropped, levels: dropout.levels, group: width },
      ...{ groupScales: full([count, 1], 1, tap.backend), scale: one, shift: zero },
    });
    return mul(tap, kept);
  });
  // Of a language model the last layer's rows as they are follow.
  return [...taps, ...last];
}
