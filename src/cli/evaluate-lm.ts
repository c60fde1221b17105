import { loadSplit, renderTemplate, type Sample } from '../data/index.ts';
import type { AdapterConfig } from '../model/index.ts';
import { listFiles, readText } from '../platform/node.ts';
import { FormatError, UsageError } from '../tensor/errors.ts';
import type { SavedAdapter } from './adapter-folder.ts';
import { type ColumnFlags, columnsOf } from './column-flags.ts';
import type { DeviceThread, GenerateRequest } from './device-thread.ts';
import { scoreRows } from './evaluate.ts';
import { percent, scoresLine } from './metrics-text.ts';
import { type AdapterFlags, openAdapter } from './open-adapter.ts';
import { ProgressLine, rateAndEta } from './progress.ts';

/** How a tuned language model is measured. */
export interface EvalLmFlags extends AdapterFlags, ColumnFlags {
  readonly data: string;
  readonly split: string;
  readonly batchSize: number;
  /** What is an answer in a completion. */
  readonly answerRegex?: string;
  /** Most tokens of a completion in which it is looked for. */
  readonly maxTokens: number;
  readonly json?: boolean;
}

/** Of how many rows the generated answer is the row's. */
export interface ExactMatch {
  readonly rows: number;
  readonly base: number;
  readonly tuned: number;
}

/**
 * Measures a tuned language model on a split, the frozen model beside it, and prints what came out:
 * perplexities over the tokens in the loss, and with a pattern how often the answer is right.
 * @throws UsageError for a pattern that is none; FormatError (E_DATA) for rows of another shape
 */
export async function evaluateLm(
  adapter: SavedAdapter,
  flags: EvalLmFlags,
  options: { quiet: boolean; signal: AbortSignal },
): Promise<void> {
  const { config } = adapter;
  const pattern = patternOf(flags.answerRegex);
  const { data, split, adapterPath, batchSize } = flags;
  const rows = await loadSplit(data, split, [], {
    ...{ readText, listFiles, columns: columnsOf(flags) },
    shape: config.lm?.shape,
  });
  const wanted = pattern && answersOf(rows, config, pattern);
  const device = await openAdapter(adapter, flags, options);
  const line = new ProgressLine({ silent: options.quiet });
  const progress = (what: string, of: readonly Sample[]) => {
    const start = performance.now();
    return (done: number) =>
      line.update(() => {
        const { rate, eta } = rateAndEta(done, of.length, start);
        return `eval: ${what} of ${done}/${of.length} rows, ${rate.toFixed(1)}/s, ETA ${eta}`;
      });
  };
  try {
    const onBatch = progress('perplexity', rows);
    const scored = await scoreRows(device, 'adapter', rows, batchSize, onBatch);
    const onRow = progress('answers', rows);
    const match =
      wanted && (await exactMatch(device, config, rows, wanted, flags.maxTokens, onRow));
    line.done();
    const { scores, truncated: truncatedSamples } = scored;
    const { kernels, backend } = device.info;
    if (options.quiet) {
      const what = { adapterPath, data, split, ...scores, ...(match && { exactMatch: match }) };
      const text = JSON.stringify({ ...what, truncatedSamples, kernels, backend });
      process.stdout.write(`${text}\n`);
      return;
    }
    const cut = truncatedSamples > 0 ? `; ${truncatedSamples} samples were cut` : '';
    process.stdout.write(`${scoresLine(scores)}; ${kernels}, ${backend}${cut}\n`);
    if (match) {
      const share = (right: number) => `${percent(right / match.rows)} (${right})`;
      process.stdout.write(
        `answers that match: ${share(match.tuned)}, the frozen model's ${share(match.base)}, of ${match.rows}\n`,
      );
    }
  } finally {
    line.done();
    await device.close();
  }
}

function patternOf(source: string | undefined): RegExp | undefined {
  if (source === undefined) return undefined;
  try {
    return new RegExp(source, 'g');
  } catch (error) {
    throw new UsageError(`--answer-regex: ${(error as Error).message}`);
  }
}

/** What a pattern finds last in a text: its last group that took part, or all of the match. */
export function answerIn(text: string, pattern: RegExp): string | undefined {
  const match = [...text.matchAll(pattern)].at(-1);
  return match?.findLast((group) => group !== undefined)?.trim();
}

/** What is to be answered, and the pattern that finds it. */
interface Wanted {
  readonly pattern: RegExp;
  /** A row's each. */
  readonly answers: readonly string[];
}

/** The answers in the rows' own completions. @throws UsageError, FormatError (E_DATA) where there is none */
function answersOf(rows: readonly Sample[], { lm }: AdapterConfig, pattern: RegExp): Wanted {
  if (lm?.shape !== 'prompt') {
    throw new UsageError('--answer-regex: it takes rows of prompts and completions');
  }
  const answers = rows.map(({ label }, i) => {
    const answer = answerIn(label, pattern);
    if (answer !== undefined) return answer;
    throw new FormatError(
      `data: row ${i + 1}: --answer-regex finds nothing in its completion`,
      'E_DATA',
    );
  });
  return { pattern, answers };
}

/** Lets the frozen and the tuned model complete every prompt, greedily, and compares the answers. */
async function exactMatch(
  device: DeviceThread,
  config: AdapterConfig,
  rows: readonly Sample[],
  { pattern, answers }: Wanted,
  maxTokens: number,
  onRow: (done: number) => void,
): Promise<ExactMatch> {
  const { lm, template } = config;
  const chat = lm?.chat === true;
  const right = { base: 0, tuned: 0 };
  for (const [i, { text }] of rows.entries()) {
    const prompt = chat ? text : renderTemplate(template, { text, labels: [] });
    for (const which of ['base', 'tuned'] as const) {
      const request: GenerateRequest = {
        ...{ prompt, chat, maxTokens, seed: 0 },
        ...(which === 'tuned' && { adapter: 'adapter' }),
      };
      let made = '';
      await device.generate(request, (piece) => {
        made += piece;
      });
      if (answerIn(made, pattern) === answers[i]) right[which]++;
    }
    onRow(i + 1);
  }
  return { rows: rows.length, ...right };
}
