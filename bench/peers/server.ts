// npm run bench:peers -- server: a whole train step of the side network, ours and the peers' in turns.
import { median, type Ratio, ratioOf, type Turns } from '../interleave.ts';
import { markdownTable } from '../markdown.ts';
import {
  nameOfShape,
  SMALL_STEP,
  SMOLLM2_STEP,
  type StepShape,
  stepFlops,
} from '../server-shapes.ts';
import { STEP_TOLERANCE, type StepData, stepData } from '../server-steps.ts';
import { gpuEngine, type StepEngine, type StepNumbers, wasmEngine } from './server-engine.ts';
import { tfjsEngine } from './server-tfjs.ts';
import { torchEngine } from './server-torch.ts';
import { SERVER_TARGETS, type Target, verdict } from './targets.ts';

/** Steps whose numbers are compared; from the second on they show what the optimizer did. */
const VERIFIED = 3;

/** A sample lasts at least this long, in seconds, by the first ones' speed. */
const SAMPLE_SECONDS = 0.3;

/** Steps in a call of gpu.js's plan. */
const PLAN_STEPS = 4;

/** One way to make a step. */
export interface StepTime {
  readonly engine: string;
  readonly variant: string;
  /** Median of the samples. */
  readonly seconds: number;
  readonly gflops: number;
  /** Largest relative difference of losses and norms from the first engine's. */
  readonly error: number;
}

/** One of ours beside another. */
export interface StepRatio {
  readonly ours: string;
  readonly other: string;
  /** How many times as fast ours is. */
  readonly ratio: Ratio;
  readonly target?: Target;
}

/** All of a shape. */
export interface StepComparison {
  readonly name: string;
  readonly shape: StepShape;
  readonly times: readonly StepTime[];
  readonly ratios: readonly StepRatio[];
}

/** What the command line asks for. */
export interface StepComparisonOptions {
  readonly filter: RegExp;
  readonly rounds: number;
  /** What runs Python. */
  readonly python: string;
  /** Told what happens, a line each. */
  readonly say: (line: string) => void;
}

type Open = () => StepEngine | Promise<StepEngine>;

interface Case {
  readonly name: string;
  readonly shape: StepShape;
  /** The first is ours, which the others are held against. */
  engines(data: StepData, python: string): readonly (readonly [what: string, open: Open])[];
}

function libraries(shape: StepShape): Case {
  return {
    name: `libraries/${nameOfShape(shape)}`,
    shape,
    engines: (data, python) => [
      ['mobillm', () => wasmEngine(shape, data)],
      ['tfjs', () => tfjsEngine(shape, data)],
      ...(['foreach', 'fused'] as const).map(
        (adamw) => ['PyTorch', () => torchEngine(shape, data, python, adamw)] as const,
      ),
    ],
  };
}

function plans(shape: StepShape): Case {
  return {
    name: `plan/${nameOfShape(shape)}`,
    shape,
    engines: (data) => [
      ['gpu.js plan', () => gpuEngine(shape, data, PLAN_STEPS)],
      ['gpu.js kernels', () => gpuEngine(shape, data, 1)],
    ],
  };
}

const CASES: readonly Case[] = [
  libraries(SMOLLM2_STEP),
  libraries({ ...SMOLLM2_STEP, head: 'dense' }),
  plans({ ...SMALL_STEP, width: 32, rank: 4, rows: 4 }),
  plans(SMALL_STEP),
  plans({ ...SMOLLM2_STEP, rows: 8 }),
];

/** The largest relative difference. @throws Error beyond what rounding explains */
function check(who: string, got: readonly StepNumbers[], expected: readonly StepNumbers[]): number {
  let most = 0;
  for (const [i, { loss, gradNorm }] of got.entries()) {
    const error = Math.max(
      Math.abs(loss / expected[i].loss - 1),
      Math.abs(gradNorm / expected[i].gradNorm - 1),
    );
    if (!(error <= STEP_TOLERANCE)) {
      const { loss: l, gradNorm: g } = expected[i];
      throw new Error(`${who}: step ${i + 1} has loss ${loss}, norm ${gradNorm}; ours ${l}, ${g}`);
    }
    most = Math.max(most, error);
  }
  return most;
}

async function measure(engines: readonly StepEngine[], rounds: number): Promise<Turns[]> {
  const counts: number[] = [];
  for (const engine of engines) {
    await engine.seconds(2);
    counts.push(Math.max(1, Math.ceil(SAMPLE_SECONDS / (await engine.seconds(1)))));
  }
  const samples: number[][] = engines.map(() => []);
  for (let round = 0; round < rounds; round++) {
    const order = engines.map((_, i) => (round % 2 ? engines.length - 1 - i : i));
    for (const i of order) samples[i].push(await engines[i].seconds(counts[i]));
  }
  return engines.map(({ engine }, i) => ({
    name: engine,
    samples: samples[i],
    median: median(samples[i]),
  }));
}

async function compare(
  { name, shape, engines: wanted }: Case,
  { rounds, python, say }: StepComparisonOptions,
): Promise<StepComparison> {
  const data = stepData(shape);
  const engines: StepEngine[] = [];
  const errors: number[] = [];
  try {
    let expected: StepNumbers[] | undefined;
    for (const [what, open] of wanted(data, python)) {
      let engine: StepEngine;
      try {
        engine = await open();
      } catch (error) {
        say(`left out: ${what}: ${(error as Error).message}`);
        continue;
      }
      engines.push(engine);
      const numbers: StepNumbers[] = [];
      for (let i = 0; i < VERIFIED; i++) numbers.push(await engine.step());
      expected ??= numbers;
      errors.push(check(`${engine.engine} ${engine.variant}`, numbers, expected));
    }
    const turns = await measure(engines, rounds);
    return {
      name,
      shape,
      times: engines.map(({ engine, variant }, i) => ({
        engine,
        variant,
        seconds: turns[i].median,
        gflops: stepFlops(shape) / turns[i].median / 1e9,
        error: errors[i],
      })),
      ratios: engines.slice(1).map(({ engine, variant }, i) => ({
        ours: engines[0].variant,
        other: `${engine} ${variant}`,
        ratio: ratioOf(turns[i + 1], turns[0]),
        target: SERVER_TARGETS[engine],
      })),
    };
  } finally {
    for (const engine of engines) await engine.dispose();
  }
}

/** Every case that the filter leaves. */
export async function compareSteps(options: StepComparisonOptions): Promise<StepComparison[]> {
  const cases = CASES.filter(({ name }) => options.filter.test(name));
  const done: StepComparison[] = [];
  for (const [index, one] of cases.entries()) {
    options.say(`${index + 1} of ${cases.length}: ${one.name}`);
    done.push(await compare(one, options));
  }
  return done;
}

/** Ratios as a table, then every time that went into them. */
export function stepMarkdown(comparisons: readonly StepComparison[]): string {
  const ratios = comparisons.flatMap((one) =>
    one.ratios.map(({ ours, other, ratio, target }) => [
      one.name,
      ours,
      other,
      `${ratio.median.toFixed(2)}x`,
      `${ratio.low.toFixed(2)}-${ratio.high.toFixed(2)}`,
      verdict(ratio.median, target),
    ]),
  );
  const times = comparisons.flatMap((one) =>
    one.times.map(({ engine, variant, seconds, gflops, error }) => [
      one.name,
      `${engine} ${variant}`,
      (seconds * 1e3).toFixed(1),
      gflops.toFixed(1),
      error.toExponential(1),
    ]),
  );
  return [
    markdownTable(['step', 'ours', 'beside', 'ours is', 'quartiles', 'target'], ratios, [3, 4]),
    markdownTable(['step', 'engine', 'ms', 'GFLOP/s', 'error'], times, [2, 3, 4]),
  ].join('\n\n');
}
