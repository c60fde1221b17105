import { cpus } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../../tensor/errors.ts';
import type { BenchCheck, BenchRun, BenchTest } from '../bench-engine.ts';
import {
  type BenchFormat,
  type BenchResult,
  type BenchSubject,
  renderBench,
  spreadOf,
  testName,
} from '../bench-report.ts';
import type { DeviceInfo, DeviceThread } from '../device-thread.ts';
import {
  addModelFlags,
  integer,
  layerChoice,
  type ModelFlags,
  type ThreadChoice,
  threadChoice,
} from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { loadDevice } from '../load-device.ts';
import { type MemoryKinds, measuredKinds } from '../memory-kinds.ts';
import { ProgressLine } from '../progress.ts';

/** What decides which tests there are. */
export interface BenchFlags {
  readonly prompt: readonly number[];
  /** Undefined where it was not given. */
  readonly gen?: readonly number[];
  readonly deviceStep?: boolean;
  /** Undefined where it was not given. */
  readonly batchSize?: number;
}

interface AllFlags extends BenchFlags, Omit<ModelFlags, 'threads'> {
  readonly threads: readonly ThreadChoice[];
  readonly repetitions: number;
  readonly output: BenchFormat;
}

/** Tokens that are made where -n was not given. */
const DEFAULT_GEN: readonly number[] = [64];

/** Samples of a step where -b was not given. */
const DEFAULT_BATCH = 8;

/** What `train` sends unless told otherwise. */
const STEP_TAPS = { layers: layerChoice('auto'), kinds: ['last', 'mean'], bits: 4 } as const;

/** Time between two looks at the progress line, in ms. */
const TICK_MS = 500;

/** `mobillm bench`: tokens a second of the frozen model, in llama-bench's words. */
export function registerBench(program: Command): void {
  const threads = new Option(
    '-t, --threads <list>',
    'threads that compute, one run of all for each',
  )
    .argParser(threadChoices)
    .default(['auto'], 'auto');
  addModelFlags(program.command('bench'), threads)
    .description("measure the frozen model's speed, as llama-bench does, on the engine that trains")
    .option(
      '-p, --prompt <lengths>',
      'tokens of a prompt that runs at once; 0 for none',
      lengths,
      [128, 512],
    )
    .option(
      '-n, --gen <lengths>',
      `tokens made one by one; 0 for none (default: ${DEFAULT_GEN}; none of an encoder)`,
      lengths,
    )
    .option(
      '-r, --repetitions <n>',
      'runs of each test, after one that is not timed',
      integer(1),
      5,
    )
    .option(
      '--device-step',
      "measure the device's whole part of training instead, on samples of -p tokens: tokenizing, forward, taps, quantizing",
    )
    .option(
      '-b, --batch-size <n>',
      `with --device-step: samples of a batch (default: ${DEFAULT_BATCH})`,
      integer(1),
    )
    .addOption(
      new Option('-o, --output <format>', 'how results are written')
        .choices(['md', 'json', 'csv'])
        .default('md'),
    )
    .action(async (flags: AllFlags) => {
      checkFlags(flags);
      const report: Report = { results: [] };
      const { results } = report;
      const stopped = () =>
        results.length > 0
          ? 'the benchmark stopped; what was measured stands above'
          : 'the benchmark stopped before anything was measured';
      await interruptible(stopped, async (signal) => {
        try {
          for (const threads of flags.threads) {
            const device = await loadDevice(
              { ...flags, ...widestOf(flags), threads },
              { quiet: false, signal },
            );
            try {
              const tests = planTests(flags, device.info);
              await measure(device, tests, flags.repetitions, report);
            } finally {
              await device.close();
            }
          }
        } finally {
          print(report, flags);
        }
      });
    });
}

/** What decides how much memory a run takes. */
function widestOf({ prompt, gen = [], deviceStep, batchSize }: BenchFlags) {
  const maxSeqLength = Math.max(1, ...prompt, ...gen);
  return { maxSeqLength, batchSize: deviceStep ? (batchSize ?? DEFAULT_BATCH) : 1 };
}

/** Numbers of threads, `1,2`, or `auto`; each once. */
function threadChoices(text: string): ThreadChoice[] {
  return [...new Set(text.split(',').map((part) => threadChoice(part)))];
}

/** What was measured so far, and what was found out about the model before. */
interface Report {
  readonly results: BenchResult[];
  info?: DeviceInfo;
  check?: BenchCheck;
  memory?: { readonly peakRss: number; readonly kinds: MemoryKinds };
}

/** Lengths in tokens, `128,512`; zeros are left out, as llama-bench does. */
export function lengths(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (!values.every((value) => Number.isSafeInteger(value) && value >= 0)) {
    throw new InvalidArgumentError('It must be whole numbers such as 128 or 128,512; 0 for none.');
  }
  return values.filter((value) => value > 0);
}

/** @throws UsageError for flags that do not go together, whatever the model */
function checkFlags({ prompt, gen, deviceStep, batchSize }: BenchFlags): void {
  if (batchSize !== undefined && !deviceStep) {
    throw new UsageError('-b: it is the samples of a training batch; give --device-step with it');
  }
  if (deviceStep && gen !== undefined) {
    throw new UsageError('-n: a training batch makes no tokens; leave it out with --device-step');
  }
  if (prompt.length === 0 && (deviceStep || gen?.length === 0)) {
    throw new UsageError('-p: nothing is left to measure; give a length');
  }
}

/**
 * The tests of a model in the order in which they run.
 * @throws UsageError for flags that do not go together, a length beyond the model's context, or
 * tokens to be made by an encoder
 */
export function planTests(
  flags: BenchFlags,
  model: Pick<DeviceInfo, 'architecture' | 'family' | 'layers' | 'contextLength'>,
): BenchTest[] {
  checkFlags(flags);
  const { prompt, deviceStep, batchSize = DEFAULT_BATCH } = flags;
  const encoder = model.family === 'encoder';
  const gen = deviceStep ? [] : (flags.gen ?? (encoder ? [] : DEFAULT_GEN));
  if (encoder && gen.length > 0) {
    throw new UsageError(
      `-n: ${model.architecture} is an encoder: it reads whole texts and makes no tokens; use -n 0`,
    );
  }
  for (const [flag, tokens] of [
    ['-p', Math.max(...prompt, 0)],
    ['-n', Math.max(...gen, 0)],
  ] as const) {
    if (tokens <= model.contextLength) continue;
    throw new UsageError(
      `${flag}: ${tokens} tokens exceed the model's context of ${model.contextLength}`,
    );
  }
  const tests: BenchTest[] = deviceStep
    ? prompt.map((tokens) => {
        const { kinds, bits } = STEP_TAPS;
        const taps = { layers: STEP_TAPS.layers(model.layers), kinds: [...kinds], bits };
        return { kind: 'step', tokens, batch: batchSize, taps };
      })
    : [
        ...prompt.map((tokens) => ({ kind: 'pp', tokens, batch: 1 }) as const),
        ...gen.map((tokens) => ({ kind: 'tg', tokens, batch: 1 }) as const),
      ];
  if (tests.length === 0) throw new UsageError('-p: nothing is left to measure; give a length');
  return tests;
}

/** Runs the tests on a device. */
async function measure(
  device: DeviceThread,
  tests: readonly BenchTest[],
  repetitions: number,
  report: Report,
): Promise<void> {
  const { threads, backend } = device.info;
  const line = new ProgressLine();
  let doing = 'checking the model';
  const ticker = setInterval(() => line.update(() => doing), TICK_MS);
  try {
    report.check = await device.benchCheck();
    report.info = device.info;
    for (const [index, test] of tests.entries()) {
      const place = `${testName(test)}, test ${index + 1} of ${tests.length}, threads ${threads}`;
      doing = `${place}: warming up`;
      await device.benchPrepare(test);
      await device.benchRun();
      const runs: BenchRun[] = [];
      const startedAt = new Date().toISOString();
      while (runs.length < repetitions) {
        const { mean } = spreadOf(runs.map(({ tokens, ms }) => (tokens / ms) * 1e3));
        const rate = runs.length > 0 ? `, ${mean.toFixed(1)} t/s` : '';
        doing = `${place}: repetition ${runs.length + 1} of ${repetitions}${rate}`;
        runs.push(await device.benchRun());
        if (runs.length === 1) report.results.push({ test, threads, backend, startedAt, runs });
        const peakRss = process.resourceUsage().maxRSS * 1024;
        report.memory = { peakRss, kinds: measuredKinds(await device.memory(), peakRss) };
      }
    }
  } finally {
    clearInterval(ticker);
    line.done();
  }
}

/** Prints what was measured, also where it was broken off. */
function print({ results, info, check, memory }: Report, { model, output }: AllFlags): void {
  if (!info || !check || !memory || results.length === 0) return;
  const subject: BenchSubject = {
    model,
    info,
    check,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    runtime: `Node ${process.versions.node}`,
    peakRss: memory.peakRss,
    memory: memory.kinds,
  };
  process.stdout.write(renderBench(output, subject, results));
}
