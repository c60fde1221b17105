// npm run bench:peers -- gemm: products of matrices, ours and the peers' in turns.
import {
  type InterleaveOptions,
  interleave,
  type Ratio,
  ratioOf,
  type Turns,
} from '../interleave.ts';
import { markdownTable } from '../markdown.ts';
import { readShapes } from '../shapes.ts';
import { gpuJsEngine } from './gpu-js.ts';
import { ortEngines } from './onnxruntime.ts';
import { type OurVariant, ourEngines } from './ours.ts';
import { checkError, type Engine, type Format, type Problem, problemOf } from './problem.ts';
import { GEMM_TARGETS, type Target, verdict } from './targets.ts';

const FORMATS: readonly Format[] = ['f32', 'int8', 'int4'];
const VARIANTS: readonly OurVariant[] = ['relaxed', 'simd128'];

/** Enough rounds for a median, enough time for a clock of microseconds: two minutes in all. */
const TIMING: InterleaveOptions = { rounds: 9, sampleSeconds: 0.015 };

/** The shape of gpu.js's own README. */
const GPU_JS_SIDE = 512;

/** One way to compute one product. */
export interface GemmTime {
  readonly engine: string;
  readonly variant: string;
  /** Median of the samples. */
  readonly seconds: number;
  readonly gops: number;
  /** Norm of the error over the norm of the f64 reference. */
  readonly error: number;
}

/** One of ours beside the fastest of a peer. */
export interface GemmRatio {
  readonly ours: string;
  readonly peer: string;
  readonly peerVariant: string;
  /** How many times as fast ours is. */
  readonly ratio: Ratio;
  readonly target?: Target;
}

/** All of a shape in a format. */
export interface GemmComparison {
  readonly shape: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly format: Format;
  readonly times: readonly GemmTime[];
  readonly ratios: readonly GemmRatio[];
}

/** What the command line asks for. */
export interface GemmOptions {
  readonly filter: RegExp;
  /** Told what happens, a line each. */
  readonly say: (line: string) => void;
}

interface Case {
  readonly shape: string;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly format: Format;
}

/** The square all figures are quoted for, then the shapes of a small model; gpu.js's own last. */
function* casesOf(): Generator<Case> {
  for (const { name, m, k, n } of [...readShapes('square'), ...readShapes('smollm2-135m')]) {
    if (![1, 128].includes(m) || n > 2048) continue;
    for (const format of FORMATS) yield { shape: name, m, k, n, format };
  }
  const side = GPU_JS_SIDE;
  yield { shape: 'gpu.js', m: side, k: side, n: side, format: 'f32' };
}

/** `int8/square/128x2048x2048`: what `--filter` matches. */
const nameOf = ({ format, shape, m, k, n }: Case) => `${format}/${shape}/${m}x${k}x${n}`;

async function enginesOf(
  one: Case,
  problem: Problem,
  say: (line: string) => void,
): Promise<Engine[]> {
  const refused = (what: string, why: string) => say(`left out: ${what}: ${why}`);
  const all = VARIANTS.flatMap((variant) => ourEngines(problem, one.format, variant));
  if (one.shape === 'gpu.js') {
    for (const mode of ['webasm', 'cpu'] as const) all.push(await gpuJsEngine(problem, mode));
  }
  for (const name of ['onnxruntime-web', 'onnxruntime-node'] as const) {
    all.push(...(await ortEngines(name, problem, one.format, refused)));
  }
  return all;
}

/** Verifies all engines of a case, then times them in turns. */
async function compare(one: Case, say: (line: string) => void): Promise<GemmComparison> {
  const problem = problemOf(one.m, one.k, one.n);
  const engines = await enginesOf(one, problem, say);
  try {
    const errors: number[] = [];
    for (const engine of engines) errors.push(checkError(problem, engine, await engine.run()));
    const turns = await interleave(
      engines.map((engine) => ({
        name: engine.engine,
        run: () => engine.run(),
      })),
      TIMING,
    );
    return {
      ...one,
      times: engines.map(({ engine, variant }, i) => ({
        engine,
        variant,
        seconds: turns[i].median,
        gops: (2 * one.m * one.k * one.n) / turns[i].median / 1e9,
        error: errors[i],
      })),
      ratios: ratiosOf(one, engines, turns),
    };
  } finally {
    for (const engine of engines) await engine.dispose();
  }
}

function ratiosOf(one: Case, engines: readonly Engine[], turns: readonly Turns[]): GemmRatio[] {
  const fastest = new Map<string, number>();
  engines.forEach(({ engine }, i) => {
    const best = fastest.get(engine);
    if (best === undefined || turns[i].median < turns[best].median) fastest.set(engine, i);
  });
  const ratios: GemmRatio[] = [];
  for (const [peer, at] of fastest) {
    if (peer === 'mobillm') continue;
    engines.forEach(({ engine, variant }, i) => {
      if (engine !== 'mobillm') return;
      const kind = /simd128/.test(variant) ? 'simd128' : 'relaxed';
      // Plain SIMD is compared with what has nothing better either.
      if (kind === 'simd128' && peer !== 'onnxruntime-web') return;
      const targeted = one.shape === 'square' && peer === 'onnxruntime-web';
      ratios.push({
        ours: variant,
        peer,
        peerVariant: engines[at].variant,
        ratio: ratioOf(turns[at], turns[i]),
        target: targeted ? GEMM_TARGETS[`${one.format}/${one.m}/${kind}`] : undefined,
      });
    });
  }
  return ratios;
}

/** Every case that the filter leaves. */
export async function compareGemm({ filter, say }: GemmOptions): Promise<GemmComparison[]> {
  const cases = [...casesOf()].filter((one) => filter.test(nameOf(one)));
  const done: GemmComparison[] = [];
  for (const [index, one] of cases.entries()) {
    say(`${index + 1} of ${cases.length}: ${nameOf(one)}`);
    done.push(await compare(one, say));
  }
  return done;
}

/** Ratios as a table, then every time that went into them. */
export function gemmMarkdown(comparisons: readonly GemmComparison[]): string {
  const place = ({ format, shape, m, k, n }: GemmComparison) => `${format} ${shape} ${m}x${k}x${n}`;
  const ratios = comparisons.flatMap((one) =>
    one.ratios.map(({ ours, peer, peerVariant, ratio, target }) => [
      place(one),
      ours,
      `${peer} ${peerVariant}`,
      `${ratio.median.toFixed(2)}x`,
      `${ratio.low.toFixed(2)}-${ratio.high.toFixed(2)}`,
      verdict(ratio.median, target),
    ]),
  );
  const times = comparisons.flatMap((one) =>
    one.times.map(({ engine, variant, seconds, gops, error }) => [
      place(one),
      `${engine} ${variant}`,
      gops.toFixed(1),
      (seconds * 1e3).toFixed(3),
      error.toExponential(1),
    ]),
  );
  return [
    markdownTable(
      ['product MxKxN', 'ours', "the peer's fastest", 'ours is', 'quartiles', 'target'],
      ratios,
      [3, 4],
    ),
    markdownTable(['product MxKxN', 'engine', 'GOP/s', 'ms', 'error'], times, [2, 3, 4]),
  ].join('\n\n');
}
