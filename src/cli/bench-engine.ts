import type { DeviceEngine, TapKind } from '../device/index.ts';
import { generate, nextLogits } from '../model/generate.ts';
import type { Backbone, LayerTap, Tokenizer, WeightPrecision } from '../model/index.ts';
import { stopwatch } from '../platform/clock.ts';
import type { ActivationBits } from '../quant/index.ts';
import { BackendError, random, type Tensor, UsageError } from '../tensor/index.ts';

/**
 * What is timed: `pp` runs a prompt at once up to the logits of its last token, `tg` makes tokens one
 * by one from an empty context, `step` is the device's part of a training batch.
 */
export type BenchKind = 'pp' | 'tg' | 'step';

/** One line of the report before it was measured. */
export interface BenchTest {
  readonly kind: BenchKind;
  /** Of the prompt, made one by one, or of a sample. */
  readonly tokens: number;
  /** Samples of a step; 1 elsewhere. */
  readonly batch: number;
  /** Of a step: the layers that are tapped, what is kept of them, and the bits of an activation. */
  readonly taps?: {
    readonly layers: readonly number[];
    readonly kinds: readonly TapKind[];
    readonly bits: ActivationBits;
  };
}

/** What one repetition took. */
export interface BenchRun {
  readonly ms: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
  /** Bytes that a training step makes to be sent; 0 elsewhere. */
  readonly bytes: number;
}

/** How far two ways to the same rows are apart: norm of the difference over that of the spread. */
export interface BenchCheck {
  readonly compared: string;
  /** Behind layer 1. */
  readonly firstLayer: number;
  /** Of a decoder's logits, of an encoder's last layer. */
  readonly end: number;
}

/** Tokens of the check: beyond a tile of 32, so that whole tiles and a rest are in it. */
const CHECK_TOKENS = 33;

/**
 * Both ways do the same operations, some in another order. In f32 that is 1e-5 at the most. Behind
 * integer activations such a rounding now and then moves a code by a step of 1/127: of SmolLM2's
 * layer 1 that would be 0.004, where two swapped tokens are 0.013. What moved one code moves others,
 * so that after five layers the two differ like any two roundings of the model, by 0.08 to 0.24 at
 * the logits; unrelated logits differ by 1.4.
 */
const TOLERANCES: Readonly<Record<WeightPrecision, { firstLayer: number; end: number }>> = {
  f32: { firstLayer: 1e-4, end: 1e-4 },
  int8: { firstLayer: 0.01, end: 0.5 },
  int4: { firstLayer: 0.01, end: 0.5 },
};

/**
 * Holds two ways to the same numbers against each other: of a decoder the last token of a prompt that
 * ran at once and token by token, of an encoder that of a text alone and behind another one.
 * @throws BackendError where a number is not finite, or the two differ beyond the tolerance
 */
export function checkEngine({ backbone }: DeviceEngine): BenchCheck {
  const { family, precision, config } = backbone;
  const ids = randomTokens(backbone, Math.min(CHECK_TOKENS, config.maxPositionEmbeddings));
  const decoder = family === 'decoder';
  const compared = decoder ? 'a prompt at once and token by token' : 'a text alone and in a batch';
  const [whole, parts] = decoder ? promptBothWays(backbone, ids) : textBothWays(backbone, ids);
  const allowed = TOLERANCES[precision];
  const distanceAt = (where: 'firstLayer' | 'end') => {
    const distance = relativeDistance(whole[where], parts[where]);
    if (distance <= allowed[where]) return distance;
    const place = where === 'firstLayer' ? 'behind layer 1' : 'at the end';
    throw new BackendError(
      Number.isFinite(distance)
        ? `bench: ${compared} differ by ${distance.toPrecision(2)} ${place}, where ${allowed[where]} is allowed; nothing was timed`
        : `bench: ${compared}: numbers ${place} are not finite; nothing was timed`,
    );
  };
  return { compared, firstLayer: distanceAt('firstLayer'), end: distanceAt('end') };
}

/** Norm of the difference over the norm of `a` around its mean; NaN where a value is not finite. */
export function relativeDistance(a: Float32Array, b: Float32Array): number {
  const mean = a.reduce((sum, x) => sum + x, 0) / a.length;
  let [difference, spread] = [0, 0];
  for (const [i, x] of a.entries()) {
    difference += (x - b[i]) ** 2;
    spread += (x - mean) ** 2;
  }
  if (!Number.isFinite(difference + spread)) return Number.NaN;
  return difference === 0 ? 0 : Math.sqrt(difference / spread);
}

/**
 * Makes all that a test needs, outside of what is timed; the returned function is one repetition.
 * @throws UsageError for more tokens than the context holds
 */
export function prepareBench(engine: DeviceEngine, test: BenchTest): () => BenchRun {
  const { backbone } = engine;
  if (test.kind === 'step') return trainingStep(engine, test);
  const ids = randomTokens(backbone, test.kind === 'pp' ? test.tokens : 1);
  const run = () => {
    if (backbone.family === 'encoder') {
      const hidden = backbone.forward({ ids, lengths: [ids.length] });
      hidden.dispose();
      return;
    }
    const maxTokens = test.kind === 'pp' ? 1 : test.tokens;
    let made = 0;
    for (const _ of generate(backbone, Array.from(ids), { maxTokens })) made++;
    if (made !== maxTokens) throw new Error(`bench: ${made} tokens made of ${maxTokens}`);
  };
  return () => {
    const elapsed = stopwatch();
    run();
    return { ms: elapsed(), tokens: test.tokens, bytes: 0 };
  };
}

/** The device's part of a batch: words to tokens, forward, taps pooled and quantized. */
function trainingStep(engine: DeviceEngine, { tokens, batch, taps }: BenchTest): () => BenchRun {
  if (!taps) throw new Error('bench: a step needs its taps');
  const rng = random(SEED).fork('samples');
  const samples = Array.from({ length: batch }, () => ({
    text: textOf(engine.tokenizer, tokens, (n) => rng.int(n)),
    label: '',
  }));
  engine.usePlan({ template: '{text}', labels: [], prefix: '', maxSeqLength: tokens, ...taps });
  engine.calibrate(samples);
  return () => {
    const elapsed = stopwatch();
    const encoded = engine.encode(samples);
    const ms = elapsed();
    return { ms, tokens: encoded.tokens, bytes: encoded.taps.reduce((n, b) => n + b.length, 0) };
  };
}

/** Start of all random numbers here: every run of the command computes on the same tokens. */
const SEED = 1;

/** Words that most vocabularies hold as they are. */
const WORDS = 'the of and to in is was for on that by with from at his an were are which has'.split(
  ' ',
);

/**
 * Random words that make so many tokens, or a few less where no text makes exactly as many.
 * @throws UsageError where already one word makes more
 */
function textOf(tokenizer: Tokenizer, tokens: number, draw: (n: number) => number): string {
  const words = Array.from({ length: tokens }, () => WORDS[draw(WORDS.length)]);
  const textOfFirst = (count: number) => words.slice(0, count).join(' ');
  const fits = (text: string) => tokenizer.encode(text).length <= tokens;
  let [low, high] = [0, words.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(textOfFirst(middle))) low = middle;
    else high = middle - 1;
  }
  let text = textOfFirst(low);
  if (low === 0) {
    text = 'a';
    if (!fits(text)) {
      throw new UsageError(
        `-p: ${tokens} tokens hold no text with what stands around it; use more`,
      );
    }
  }
  // What a whole word would exceed may still hold a letter.
  for (let more = `${text} a`; fits(more) && more.length < 64 * tokens; more += ' a') text = more;
  return text;
}

/** Token ids drawn from the whole vocabulary, as llama-bench draws them. */
function randomTokens({ config }: Backbone, count: number): Int32Array {
  const rng = random(SEED).fork('tokens');
  return Int32Array.from({ length: count }, () => rng.int(config.vocabSize));
}

/** What one way gave for the last token: its row `[D]` behind layer 1, and `[V]` or `[D]` at the end. */
interface LastRows {
  readonly firstLayer: Float32Array;
  readonly end: Float32Array;
}

/** A prompt's last token, by one pass and by a pass a token. */
function promptBothWays(backbone: Backbone, ids: Int32Array): [LastRows, LastRows] {
  const run = (pieces: readonly Int32Array[]) => {
    const cache = backbone.newCache(ids.length);
    const { tap, row } = firstLayerTap();
    try {
      let end = new Float32Array();
      for (const piece of pieces) {
        end = Float32Array.from(nextLogits(backbone, piece, cache, tap));
      }
      return { firstLayer: row(), end };
    } finally {
      cache.dispose();
    }
  };
  return [run([ids]), run(Array.from(ids, (id) => Int32Array.of(id)))];
}

/** A text's last token, alone and as the second sequence of a batch. */
function textBothWays(backbone: Backbone, ids: Int32Array): [LastRows, LastRows] {
  const run = (batch: Int32Array, lengths: readonly number[]) => {
    const { tap, row } = firstLayerTap();
    const hidden = backbone.forward({ ids: batch, lengths }, tap);
    const end = lastRow(hidden);
    hidden.dispose();
    return { firstLayer: row(), end };
  };
  const other = ids.subarray(0, Math.ceil(ids.length / 2));
  const both = Int32Array.from([...other, ...ids]);
  return [run(ids, [ids.length]), run(both, [other.length, ids.length])];
}

/** Keeps the last row that went out of layer 1. */
function firstLayerTap(): { tap: LayerTap; row: () => Float32Array } {
  let kept = new Float32Array();
  return {
    tap: (layer, hidden) => {
      if (layer === 1) kept = lastRow(hidden);
    },
    row: () => kept,
  };
}

/** The last row of `[T, D]`. */
function lastRow(hidden: Tensor): Float32Array<ArrayBuffer> {
  return Float32Array.from(hidden.toFloat32().subarray(-hidden.shape[1]));
}
