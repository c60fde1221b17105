// npm run bench:peers -- models: SmolLM2 from end to end, ours, llama.cpp and wllama in turns.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { resolveModel } from '../../src/cli/load-device.ts';
import { median, type Ratio, ratioOf, type Turns } from '../interleave.ts';
import { markdownTable } from '../markdown.ts';
import { LLAMA_LIBRARIES, libraryRuns, onlyLibrary } from './llama-libraries.ts';
import { type ModelRun, type ModelRunner, type ModelTest, startRunner } from './model-runner.ts';
import { requantized } from './requantize.ts';
import { MODEL_TARGETS, type Target, TWO_THREAD_TARGETS, verdict } from './targets.ts';
import { startWllama, wllamaMissing } from './wllama.ts';

const MODEL = 'smollm2-135m';

/** Files and libraries that are made for the comparison; beside the peers, so that a clean-up gets them. */
const WORK = join(import.meta.dirname, 'node_modules', '.cache', 'mobillm');

/** "The capital of France is" and " Paris", by the model's tokenizer. */
const QUESTION = [504, 3575, 282, 4649, 314];
const ANSWER = 7042;

/** Positions of the vocabulary that a prompt walks through, as random as llama-bench's. */
const promptOf = (tokens: number) =>
  Array.from({ length: tokens }, (_, i) => 1000 + ((i * 7919) % 40_000));

/** One engine's speed in one test. */
export interface ModelTime {
  readonly engine: string;
  readonly variant: string;
  readonly test: string;
  /** Tokens a second, from the median. */
  readonly rate: number;
  readonly samples: readonly ModelRun[];
  /** Bytes, whole process; null where it cannot be told. */
  readonly peakRss: number | null;
}

/** Ours beside a peer. */
export interface ModelRatio {
  readonly test: string;
  readonly ours: string;
  readonly peer: string;
  readonly ratio: Ratio;
  readonly target?: Target;
}

/** All of one run. */
export interface ModelComparison {
  readonly threads: number;
  /** What a second is: `processor` with one thread, `clock` with several. */
  readonly clock: 'processor' | 'clock';
  readonly times: readonly ModelTime[];
  readonly ratios: readonly ModelRatio[];
}

/** What the command line asks for. */
export interface ModelOptions {
  readonly threads: number;
  readonly rounds: number;
  /** Names of engines, `llama.cpp AVX2 Q4_0`; ours always runs. */
  readonly filter: RegExp;
  readonly say: (line: string) => void;
}

/** Ours, by the precision of its weights: int8 is what `train` and `bench` take by themselves. */
const OURS = { int8: 'mobillm int8', int4: 'mobillm int4' } as const;
const isOurs = (name: string) => name === OURS.int8 || name === OURS.int4;

/** What several threads are compared with. */
const ALONE = 'one thread of mobillm int8';

interface Started {
  readonly name: string;
  readonly runner: ModelRunner;
}

/** Everything that runs here and that the filter leaves; what does not is said, with the reason. */
async function startAll({ threads, filter, say }: ModelOptions): Promise<Started[]> {
  mkdirSync(WORK, { recursive: true });
  const model = await resolveModel(MODEL, { quiet: false });
  const ours = (name: string, precision: 'int8' | 'int4', count: number) => ({
    name,
    start: () => startRunner(name, 'our-process.ts', { model, threads: count, precision }),
  });
  const plans = [ours(OURS.int8, 'int8', threads), ours(OURS.int4, 'int4', threads)];
  if (threads > 1) plans.push(ours(ALONE, 'int8', 1));
  // Its fastest types; the file's own Q4_1 is slower with every library.
  for (const library of LLAMA_LIBRARIES) {
    for (const type of ['Q4_0', 'Q8_0'] as const) {
      plans.push({
        name: `llama.cpp ${library.name} ${type}`,
        async start() {
          if (!libraryRuns(library)) throw new Error('this CPU lacks its instructions');
          return startRunner('llama.cpp', 'llama-process.ts', {
            model: await requantized(model, type, WORK),
            threads,
            libraries: onlyLibrary(library, WORK),
          });
        },
      });
    }
  }
  plans.push({
    name: 'wllama Q4_1',
    async start() {
      const missing = wllamaMissing();
      if (missing) throw new Error(missing);
      return startWllama({ model, threads });
    },
  });
  const started: Started[] = [];
  for (const { name, start } of plans) {
    const needed = isOurs(name) || name === ALONE;
    if (!needed && !filter.test(name)) continue;
    try {
      say(`loading ${name}`);
      started.push({ name, runner: await start() });
    } catch (error) {
      if (needed) throw error;
      say(`left out: ${name}: ${(error as Error).message}`);
    }
  }
  return started;
}

/** Q4_0 has less room than the file's own Q4_1 and may answer otherwise; all else has to agree. */
async function verify({ name, runner }: Started, say: (line: string) => void): Promise<void> {
  const token = await runner.next(QUESTION);
  if (token === ANSWER) return;
  const what = `${name} answers token ${token} where ${ANSWER} is right`;
  if (!name.endsWith('Q4_0')) throw new Error(what);
  say(`note: ${what}: the weights lost that much on their way to Q4_0`);
}

/** Runs all engines in turns, a round after the other. */
export async function compareModels(options: ModelOptions): Promise<ModelComparison> {
  const { threads, rounds, say } = options;
  const tests: ModelTest[] =
    threads === 1
      ? [
          { kind: 'pp', tokens: 128 },
          { kind: 'tg', tokens: 64 },
        ]
      : [
          { kind: 'pp', tokens: 512 },
          { kind: 'tg', tokens: 64 },
        ];
  const started = await startAll(options);
  const clock = threads === 1 ? 'processor' : 'clock';
  const runs = new Map<string, ModelRun[]>();
  try {
    for (const one of started) await verify(one, say);
    // Round 0 warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const test of tests) {
        const ids = promptOf(test.kind === 'pp' ? test.tokens : 1);
        for (const { name, runner } of round % 2 ? started.toReversed() : started) {
          const place = round === 0 ? 'warming up' : `round ${round} of ${rounds}`;
          say(`${place}: ${nameOf(test)} ${name}`);
          const run = await runner.run(test, ids);
          if (round === 0) continue;
          const key = `${nameOf(test)} ${name}`;
          runs.set(key, [...(runs.get(key) ?? []), run]);
        }
      }
    }
    const turnsOf = (test: ModelTest, name: string): Turns => {
      const samples = (runs.get(`${nameOf(test)} ${name}`) ?? []).map((run) =>
        clock === 'processor' ? run.cpuSeconds : run.seconds,
      );
      return { name, samples, median: median(samples) };
    };
    return {
      threads,
      clock,
      times: tests.flatMap((test) =>
        started.map(({ name, runner }) => ({
          engine: name,
          variant: runner.variant,
          test: nameOf(test),
          rate: test.tokens / turnsOf(test, name).median,
          samples: runs.get(`${nameOf(test)} ${name}`) ?? [],
          peakRss: runner.peakRss(),
        })),
      ),
      ratios: tests.flatMap((test) => ratiosOf(test, threads, started, turnsOf)),
    };
  } finally {
    for (const { runner } of started) await runner.close();
  }
}

const nameOf = ({ kind, tokens }: ModelTest) => `${kind}${tokens}`;

/** Each of ours over each peer at its fastest type. */
function ratiosOf(
  test: ModelTest,
  threads: number,
  started: readonly Started[],
  turnsOf: (test: ModelTest, name: string) => Turns,
): ModelRatio[] {
  const best = new Map<string, Turns>();
  for (const { name } of started) {
    if (isOurs(name)) continue;
    const peer = name.replace(/ Q\d_\d$/, '');
    const turns = turnsOf(test, name);
    const known = best.get(peer);
    if (!known || turns.median < known.median) best.set(peer, turns);
  }
  const targets = threads === 1 ? MODEL_TARGETS : threads === 2 ? TWO_THREAD_TARGETS : {};
  return [...best].flatMap(([peer, turns]) =>
    Object.values(OURS)
      .filter((ours) => peer !== ALONE || ours === OURS.int8)
      .map((ours) => ({
        test: nameOf(test),
        ours,
        peer: turns.name,
        ratio: ratioOf(turns, turnsOf(test, ours)),
        target: targets[`${peer}/${nameOf(test)}`],
      })),
  );
}

/** Ratios as a table, then every speed that went into them. */
export function modelMarkdown({ threads, clock, times, ratios }: ModelComparison): string {
  const unit = clock === 'processor' ? 'tokens a second of processor time' : 'tokens a second';
  return [
    `${threads} thread${threads === 1 ? '' : 's'}; ${unit}`,
    markdownTable(
      ['test', 'ours', 'the peer at its fastest type', 'ours is', 'quartiles', 'target'],
      ratios.map(({ test, ours, peer, ratio, target }) => [
        test,
        ours,
        peer,
        `${ratio.median.toFixed(2)}x`,
        `${ratio.low.toFixed(2)}-${ratio.high.toFixed(2)}`,
        verdict(ratio.median, target),
      ]),
      [3, 4],
    ),
    markdownTable(
      ['test', 'engine', 't/s', 'peak RSS MB', 'what ran'],
      times.map(({ test, engine, rate, peakRss, variant }) => [
        test,
        engine,
        rate.toFixed(1),
        peakRss === null ? '' : (peakRss / 1e6).toFixed(0),
        variant,
      ]),
      [2, 3],
    ),
  ].join('\n\n');
}
