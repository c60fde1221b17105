import { type Command, Option } from 'commander';
import { type Dataset, epochBatches, type Sample } from '../../data/index.ts';
import {
  estimateTraffic,
  lossTokens,
  prefixIds,
  surveyTokens,
  type TapPlan,
  type TrafficEstimate,
  tailTokens,
  wordSample,
} from '../../device/index.ts';
import type { ChatTemplate, Tokenizer } from '../../model/index.ts';
import { UsageError } from '../../tensor/errors.ts';
import { addColumnFlags, addTaskFlag } from '../column-flags.ts';
import { addConfigFlag } from '../config-file.ts';
import { type DataReport, renderData } from '../data-report.ts';
import { sentLabels } from '../evaluate.ts';
import { addModelFlags, addTapFlags, integer } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { oneLine } from '../metrics-text.ts';
import { openModelPath } from '../model-files.ts';
import { type JobFlags, planJob, prepareJob, surveyJob } from '../prepare-job.ts';
import { formatBytes } from '../progress.ts';

/** Columns of a token before it is cut. */
const TOKEN_WIDTH = 24;

interface PreprocessFlags extends Omit<JobFlags, 'data'> {
  readonly split: 'train' | 'valid' | 'test';
  readonly samples: number;
  readonly batchSize: number;
  readonly json?: boolean;
}

/** What becomes of one sample before the backbone sees it, and what is sent after. */
interface SampleView {
  /** Number of the row in its part, from 0. */
  readonly row: number;
  readonly label: string;
  /** The prompt; two texts where the model reads a pair. */
  readonly prompt: readonly string[];
  readonly ids: readonly number[];
  /** Each id's text. */
  readonly tokens: readonly string[];
  /** Places in `ids` of the tokens that go into each vector that is sent, by its kind. */
  readonly sent: Readonly<Record<string, readonly number[]>>;
  /** Of a language model: whether each token is in the loss. */
  readonly loss?: readonly boolean[];
  readonly truncated: boolean;
}

interface Preprocessed {
  readonly data: string;
  readonly model: string;
  readonly dataset: DataReport;
  readonly template: string;
  /** Tokens that stand in front of every prompt. */
  readonly prefixTokens: number;
  readonly layers: readonly number[];
  readonly taps: readonly string[];
  readonly activationBits: number;
  readonly traffic: TrafficEstimate;
  readonly split: string;
  readonly samples: readonly SampleView[];
}

/** `mobillm preprocess`: what becomes of the data before the backbone sees it; runs nothing. */
export function registerPreprocess(program: Command): void {
  const command = program
    .command('preprocess')
    .description('show what becomes of data: prompts, tokens, what is cut and what would be sent')
    .argument('<data>', 'folder or file, as for train --data');
  addConfigFlag(addTapFlags(addTaskFlag(addColumnFlags(addModelFlags(command)))))
    .option('--batch-size <n>', 'samples of a batch on the wire', integer(1), 32)
    .option('--seed <n>', 'chooses validation rows and examples in front, as train', integer(0), 0)
    .option('--debug', 'show samples: prompt, tokens, which of them are sent')
    .option('--samples <n>', 'how many', integer(1), 3)
    .addOption(
      new Option('--split <name>', 'of which part')
        .choices(['train', 'valid', 'test'])
        .default('train'),
    )
    .option('--json', 'print one JSON object on standard output')
    .action(async (data: string, flags: PreprocessFlags) => {
      // The program has a --debug of its own, which takes the flag before this command sees it.
      const debug = command.optsWithGlobals().debug === true;
      await interruptible('nothing was done', async (signal) => {
        const quiet = flags.json === true;
        const result = await preprocess({ ...flags, data }, debug, { quiet, signal });
        process.stdout.write(`${quiet ? JSON.stringify(result) : render(result, flags)}\n`);
      });
    });
}

async function preprocess(
  flags: PreprocessFlags & JobFlags,
  debug: boolean,
  options: { quiet: boolean; signal: AbortSignal },
): Promise<Preprocessed> {
  const read = await prepareJob(flags, options);
  const { model, close } = await openModelPath(read.modelPath);
  try {
    const { tokenizer, config, dialogue } = model;
    const { chatTemplate } = dialogue;
    const found = { layers: config.numHiddenLayers, chat: chatTemplate !== undefined };
    const plan = planJob(flags, read, found);
    const {
      dataset,
      job,
      lossTokens: counts,
    } = await surveyJob(read, (rows) => surveyTokens(tokenizer, rows, plan, chatTemplate));
    const { data } = job;
    const labels = (rows: readonly Sample[]) =>
      plan.lm ? rows.map(() => 0) : sentLabels(rows, data.labels, job.target);
    const rows = { train: labels(job.train), valid: labels(data.valid) };
    return {
      data: flags.data,
      model: flags.model,
      dataset,
      template: plan.template,
      prefixTokens: prefixIds(tokenizer, plan, chatTemplate).length,
      layers: plan.layers,
      taps: plan.kinds,
      activationBits: plan.bits,
      traffic: estimateTraffic(
        plan,
        config.hiddenSize,
        flags.batchSize,
        rows,
        counts && { counts, vocab: config.vocabSize },
      ),
      split: flags.split,
      samples: debug ? viewSamples(read.data, flags, plan, tokenizer, chatTemplate) : [],
    };
  } finally {
    await close();
  }
}

function viewSamples(
  data: Dataset,
  { split, samples, seed }: PreprocessFlags & JobFlags,
  plan: TapPlan,
  tokenizer: Tokenizer,
  chatTemplate: ChatTemplate | undefined,
): SampleView[] {
  const rows = data[split];
  if (rows === undefined) {
    throw new UsageError(`--split: ${data.folder} has no ${split} part`);
  }
  // Drawn, since files are often sorted by class.
  const order = epochBatches({ count: rows.length, batchSize: rows.length, seed, epoch: 0 })[0];
  return order.slice(0, samples).map((row) => {
    const worded = wordSample(tokenizer, rows[row], plan, chatTemplate);
    const { ids, texts, truncated, loss } = worded;
    const last = ids.length - 1;
    const all = ids.map((_, i) => i);
    const tail = plan.kinds.includes('template') ? tailTokens(tokenizer, plan.template) : 1;
    const places = {
      ...{ last: [last], first: [0], mean: all, template: all.slice(-tail) },
      token: [...lossTokens([worded]).positions],
    };
    return {
      row,
      label: rows[row].label,
      prompt: texts,
      ids,
      tokens: ids.map((id) => tokenizer.decode([id])),
      // Nothing stands in front of the first token to foresee it.
      ...(loss && { loss: loss.map((learnt, i) => learnt && i > 0) }),
      sent: Object.fromEntries(plan.kinds.map((kind) => [kind, places[kind]])),
      truncated,
    };
  });
}

function render(result: Preprocessed, flags: PreprocessFlags): string {
  const { traffic, layers, taps, prefixTokens } = result;
  const lines = [
    renderData(result.dataset, flags.maxSeqLength),
    `template: ${JSON.stringify(result.template)}${prefixTokens > 0 ? `, ${prefixTokens} tokens of examples in front, run once` : ''}`,
    `sent: ${taps.join(' and ')} of layers ${layers.join(' ')}, ${result.activationBits} bits a value: ${formatBytes(Math.round(traffic.perSample))} a sample, ${formatBytes(traffic.total)} in all`,
  ];
  for (const view of result.samples) lines.push('', renderSample(view, result));
  return lines.join('\n');
}

function renderSample(view: SampleView, { split, layers, taps }: Preprocessed): string {
  const { row, label, prompt, ids, tokens, truncated, loss } = view;
  const kinds: Record<string, string> = {
    last: `last = token ${ids.length - 1}`,
    first: 'first = token 0',
    mean: `mean over tokens 0 to ${ids.length - 1}`,
    template: `mean over the ${view.sent.template?.length ?? 0} tokens of the words behind the text`,
    token: `${view.sent.token?.length ?? 0} tokens, those before a token in the loss`,
  };
  const table = tokens.map(
    (text, i) =>
      `${String(i).padStart(6)} ${String(ids[i]).padStart(7)}  ${loss ? (loss[i] ? 'loss ' : '     ') : mark(view, i)}${JSON.stringify(oneLine(text, TOKEN_WIDTH))}`,
  );
  return [
    `${split} ${row}, ${loss ? '' : `label ${oneLine(label)}, `}${ids.length} tokens${truncated ? ', cut' : ''}`,
    ...prompt.map((text) => `  prompt ${JSON.stringify(text)}`),
    `  sent of each of ${layers.length} layers: ${taps.map((kind) => kinds[kind]).join(', ')}`,
    ` token      id  ${loss ? '(loss: is to be foreseen)' : '(* is sent by itself)'}`,
    ...table,
  ].join('\n');
}

/** `*` before a token that is sent by itself. */
function mark({ sent }: SampleView, i: number): string {
  const alone = Object.values(sent).some((places) => places.length === 1 && places[0] === i);
  return alone ? '* ' : '  ';
}
