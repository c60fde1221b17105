// npm run bench:peers -- lora|full-finetune: what PyTorch's tuning of the same backbone gives, on the rows,
// prompts, tokens and batches of a mobillm job.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import {
  addModelFlags,
  addTapFlags,
  defaultTemplate,
  integer,
  type ModelFlags,
  type TapFlags,
} from '../src/cli/flags.ts';
import { resolveModel } from '../src/cli/load-device.ts';
import { openModelPath } from '../src/cli/model-files.ts';
import { planJob, prepareJob } from '../src/cli/prepare-job.ts';
import { epochBatches, loadDataset, type Sample } from '../src/data/index.ts';
import { lossTokens, type Wording, wordSample } from '../src/device/index.ts';
import { listFiles, readText } from '../src/platform/node.ts';
import { chooseRows } from './choose-rows.ts';
import { tuningPython } from './peers/tuning-python.ts';
import {
  type FullResult,
  fullMarkdown,
  type LoraResult,
  loraMarkdown,
} from './peers/tuning-report.ts';

/** A row as PyTorch takes it: a language model's, or a classifier's. */
export type TuningRow =
  | { readonly ids: readonly number[]; readonly loss: readonly boolean[] }
  | { readonly ids: readonly number[]; readonly label: number };

interface Flags extends ModelFlags, TapFlags {
  readonly data: string;
  readonly batchSize: number;
  readonly microBatch: number;
  readonly rates: readonly number[];
  readonly weightDecay: number;
  readonly warmupRatio: number;
  readonly maxGradNorm: number;
  readonly torchThreads: number;
  readonly python?: string;
  readonly json?: boolean;
}

interface LoraFlags extends Flags {
  readonly maskPrompt: boolean;
  readonly epochs: readonly number[];
  readonly searchRows?: number;
  readonly rank: number;
  readonly alpha: number;
  readonly targets: string;
  readonly seed: number;
}

interface FullFlags extends Flags {
  readonly rows?: number;
  readonly testRows?: number;
  readonly epochs: number;
  readonly seeds: readonly number[];
}

/** Batches of the epochs of a job, as its trainer takes them. */
function batchesOf(count: number, batchSize: number, seed: number, epochs: number): number[][][] {
  return Array.from({ length: epochs }, (_, epoch) =>
    epochBatches({ count, batchSize, seed, epoch }),
  );
}

/** A job of a language model: rows as `train` words them, those without a token in the loss left out. */
export async function lmProblem(flags: LoraFlags) {
  const { seed, batchSize } = flags;
  const jobFlags = { ...flags, task: 'lm' } as const;
  const job = await prepareJob(jobFlags, { quiet: false });
  const { model, close } = await openModelPath(job.modelPath);
  const { tokenizer, config, dialogue } = model;
  const { chatTemplate } = dialogue;
  const found = { layers: config.numHiddenLayers, chat: chatTemplate !== undefined };
  const wording: Wording = planJob(jobFlags, job, found);
  const worded = (samples: readonly Sample[]) =>
    samples.flatMap((sample): TuningRow[] => {
      const { ids, loss = [] } = wordSample(tokenizer, sample, wording, chatTemplate);
      return lossTokens([{ ids, loss, texts: [], truncated: false }]).positions.length > 0
        ? [{ ids, loss }]
        : [];
    });
  const [train, valid] = [worded(job.train), worded(job.data.valid)];
  await close();
  const searched = Math.min(flags.searchRows ?? 0, train.length);
  const [searchBatches] = batchesOf(searched, batchSize, seed, 1);
  const batches = batchesOf(train.length, batchSize, seed, Math.max(...flags.epochs));
  return { gguf: job.modelPath, train, valid, batches, searchBatches };
}

/** A classifier's job: the rows and prompts of `npm run learning` with the same flags. */
export async function labelProblem(flags: FullFlags) {
  const { seeds, batchSize, epochs } = flags;
  const chosen = async (path: string) => {
    const source = await readText(path);
    const training = basename(path).startsWith('train');
    const count = training ? flags.rows : flags.testRows;
    return count === undefined ? source : chooseRows(source, count, training);
  };
  const data = await loadDataset(flags.data, { readText: chosen, listFiles, seed: seeds[0] });
  if (data.test === undefined) throw new Error(`${flags.data}: a part test is needed`);
  const gguf = await resolveModel(flags.model, { quiet: false });
  const { model, close } = await openModelPath(gguf);
  const template = flags.template ?? defaultTemplate('decoder', data.pairs);
  const wording = { template, labels: data.labels, maxSeqLength: flags.maxSeqLength };
  const worded = (samples: readonly Sample[]) =>
    samples.map((sample) => ({
      ids: wordSample(model.tokenizer, sample, wording).ids,
      label: data.labels.indexOf(sample.label),
    }));
  const [train, valid, test] = [worded(data.train), worded(data.valid), worded(data.test)];
  await close();
  const all = data.validFromTrain ? [...train, ...valid] : train;
  return {
    ...{ gguf, classes: data.labels.length, train, valid, test, all },
    searchBatches: batchesOf(train.length, batchSize, seeds[0], epochs),
    batches: seeds.map((seed) => batchesOf(all.length, batchSize, seed, epochs)),
  };
}

/** Runs one of this folder's Python programs on a problem; what it says goes to standard error. */
async function runPython<T>(python: string, program: string, problem: unknown): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'mobillm-peers-'));
  const file = join(folder, 'problem.json');
  try {
    writeFileSync(file, JSON.stringify(problem));
    const child = spawn(python, [join(import.meta.dirname, 'peers', program), file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    const code = await new Promise<number | null>((done, fail) => {
      child.on('error', fail);
      child.on('close', done);
    });
    if (code !== 0) throw new Error(`${program}: exit code ${code}`);
    return JSON.parse(out) as T;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Numbers behind commas. */
function numbers(text: string): number[] {
  const values = text.split(',').map(Number);
  if (values.some((value) => !(value >= 0))) {
    throw new InvalidArgumentError('It must be numbers with commas between them.');
  }
  return values;
}

function common(name: string): Command {
  return addTapFlags(addModelFlags(new Command(`bench:peers -- ${name}`)))
    .requiredOption('--data <folder>', 'as for mobillm train; each row as it would word it')
    .option('--micro-batch <n>', 'rows that PyTorch computes at once', integer(1), 4)
    .option('--weight-decay <rate>', "AdamW's", Number, 0.01)
    .option('--warmup-ratio <share>', 'of all steps', Number, 0.1)
    .option('--max-grad-norm <norm>', 'gradients are clipped to it', Number, 1)
    .option('--torch-threads <n>', 'threads of PyTorch', integer(1), 1)
    .option('--python <path>', 'a Python that has lora-requirements.txt (default: one is set up)')
    .option('--json', 'one JSON object instead of a table');
}

/** What Python reads of the flags. */
function optionsOf(flags: Flags) {
  const { microBatch, rates, weightDecay, warmupRatio, maxGradNorm, torchThreads } = flags;
  return { microBatch, rates, weightDecay, warmupRatio, maxGradNorm, threads: torchThreads };
}

/** LoRA's flags. */
export function loraFlags(args: readonly string[]): LoraFlags {
  return common('lora')
    .option('--no-mask-prompt', 'learn prompts, too')
    .option('--batch-size <n>', 'samples of a step', integer(1), 8)
    .option('--epochs <list>', 'a training of each of these lengths', numbers, [3])
    .option('--rates <list>', 'learning rates to choose from', numbers, [5e-4, 1e-3, 2e-3])
    .option(
      '--search-rows <n>',
      'choose the rate by one pass over so many training rows (default: train with each rate)',
      integer(1),
    )
    .option('--rank <r>', 'of the LoRA matrices', integer(1), 8)
    .option('--alpha <a>', 'their product is multiplied by it over the rank', Number, 16)
    .option('--targets <list>', 'matrices that get them', 'q_proj,v_proj')
    .option('--seed <n>', 'of orders and starts', integer(0), 0)
    .parse(args, { from: 'user' })
    .opts<LoraFlags>();
}

/** LoRA by PEFT, on the backbone's weights in f32. */
async function lora(args: readonly string[]): Promise<void> {
  const flags = loraFlags(args);
  const problem = await lmProblem(flags);
  const { epochs, rank, alpha, targets, seed } = flags;
  const rest = { epochs, rank, alpha, targets: targets.split(','), seed };
  const python = flags.python ?? tuningPython();
  const full = { ...problem, options: { ...optionsOf(flags), ...rest } };
  const result = await runPython<LoraResult>(python, 'lora.py', full);
  console.log(flags.json ? JSON.stringify(result) : loraMarkdown(result));
}

/** Full fine-tuning's flags. */
export function fullFlags(args: readonly string[]): FullFlags {
  return common('full-finetune')
    .option('--rows <n>', 'training rows, classes in turn (default: all)', integer(1))
    .option('--test-rows <n>', 'rows of the other parts (default: all)', integer(1))
    .option('--batch-size <n>', 'samples of a step', integer(1), 16)
    .option('--epochs <n>', 'passes over the rows', integer(1), 4)
    .option('--rates <list>', 'learning rates to choose from', numbers, [1e-5, 3e-5, 1e-4])
    .option('--seeds <list>', 'of orders and starts', numbers, [0, 1, 2])
    .parse(args, { from: 'user' })
    .opts<FullFlags>();
}

/** All weights: the rate is chosen on validation rows, then each seed is trained on all training rows. */
async function fullFinetune(args: readonly string[]): Promise<void> {
  const flags = fullFlags(args);
  const problem = await labelProblem(flags);
  const python = flags.python ?? tuningPython();
  const full = { ...problem, options: { ...optionsOf(flags), seeds: flags.seeds } };
  const result = await runPython<FullResult>(python, 'full-finetune.py', full);
  console.log(flags.json ? JSON.stringify(result) : fullMarkdown(result));
}

/** What is run under which name. */
export const TUNINGS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  lora,
  'full-finetune': fullFinetune,
};
