import type { Command } from 'commander';
import { type ConfusionCell, classScores, confusionCells, loadSplit } from '../../data/index.ts';
import { checkWritable, listFiles, readText, writeFileAtomic } from '../../platform/node.ts';
import { UsageError } from '../../tensor/errors.ts';
import { readAdapterFolder } from '../adapter-folder.ts';
import { addColumnFlags, type ColumnFlags, columnsOf } from '../column-flags.ts';
import { addConfigFlag } from '../config-file.ts';
import { confusionSvg, MOST_PICTURED_CLASSES } from '../confusion-svg.ts';
import { encodeRows, type Measured, measureAdapter } from '../evaluate.ts';
import { evaluateLm } from '../evaluate-lm.ts';
import { integer } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { confusionText, scoresLine } from '../metrics-text.ts';
import { type AdapterFlags, addAdapterFlags, openAdapter } from '../open-adapter.ts';
import { ProgressLine, rateAndEta } from '../progress.ts';

interface EvalFlags extends AdapterFlags, ColumnFlags {
  readonly data: string;
  readonly split: string;
  readonly batchSize: number;
  readonly confusion?: string;
  readonly answerRegex?: string;
  readonly maxTokens: number;
  readonly json?: boolean;
}

/** `mobillm eval`: accuracy and confusions of an adapter, or perplexities, on the device alone. */
export function registerEval(program: Command): void {
  const command = program
    .command('eval')
    .description('measure an adapter on labelled rows, on this machine alone')
    .requiredOption(
      '--data <folder>',
      'folder with the split as a .jsonl, .csv or .tsv file, or one file',
    );
  addConfigFlag(addColumnFlags(addAdapterFlags(command)))
    .option('--split <name>', 'which file of the folder', 'test')
    .option('--batch-size <n>', 'samples run together', integer(1), 32)
    .option(
      '--answer-regex <pattern>',
      "of a language model: what its last group (or all) matches in a generated completion must equal what it matches in the row's",
    )
    .option('-n, --max-tokens <n>', 'with --answer-regex: most tokens to make', integer(1), 256)
    .option('--confusion <file>', 'write the confusion matrix there, as an SVG image')
    .option('--json', 'print one JSON object on standard output')
    .action(async (flags: EvalFlags) => {
      await interruptible('evaluation stopped', async (signal) => {
        const quiet = flags.json === true;
        const adapter = await readAdapterFolder(flags.adapterPath);
        const { labels, target, lm } = adapter.config;
        if (lm) {
          if (flags.confusion !== undefined) {
            throw new UsageError('--confusion: a language model has no classes to confuse');
          }
          return evaluateLm(adapter, flags, { quiet, signal });
        }
        if (flags.answerRegex !== undefined) {
          throw new UsageError(
            '--answer-regex: the adapter makes no text that could hold an answer',
          );
        }
        if (flags.confusion !== undefined) {
          await checkPicture(flags.confusion, labels.length);
        }
        const reading = { readText, listFiles, columns: columnsOf(flags) };
        const rows = await loadSplit(flags.data, flags.split, labels, reading);
        const device = await openAdapter(adapter, flags, { quiet, signal });
        const line = new ProgressLine({ silent: quiet });
        try {
          const start = performance.now();
          const batches = await encodeRows(device, rows, flags.batchSize, (_, done) =>
            line.update(() => {
              const { rate, eta } = rateAndEta(done, rows.length, start);
              return `eval: ${done}/${rows.length} samples, ${rate.toFixed(1)}/s, ETA ${eta}`;
            }),
          );
          line.done();
          const outputs = { labels, target };
          const measured = await measureAdapter(device, 'adapter', batches, rows, outputs);
          const { scores } = measured;
          const cells = target ? [] : confusionCells(measured.labels, measured.predicted);
          if (flags.confusion !== undefined && 'accuracy' in scores) {
            const title = `${flags.adapterPath} on ${flags.data}, ${flags.split}`;
            await writeFileAtomic(flags.confusion, confusionSvg(labels, cells, scores, title));
          }
          const { kernels, backend } = device.info;
          const truncatedSamples = batches.reduce((n, { truncated }) => n + truncated, 0);
          if (quiet) {
            const { adapterPath, data, split } = flags;
            const what = {
              adapterPath,
              data,
              split,
              ...scores,
              ...byClass(measured, labels, cells),
            };
            const line = JSON.stringify({ ...what, truncatedSamples, kernels, backend });
            process.stdout.write(`${line}\n`);
            return;
          }
          const cut = truncatedSamples > 0 ? `; ${truncatedSamples} samples were cut` : '';
          const confusions = target ? '' : `${confusionText(labels, cells)}\n`;
          process.stdout.write(
            `${scoresLine(scores)}; ${kernels}, ${backend}${cut}\n${confusions}`,
          );
        } finally {
          line.done();
          await device.close();
        }
      });
    });
}

/** For `--json`: figures of every class and every confusion, with their names; of numbers nothing. */
function byClass(
  measured: Measured,
  labels: readonly string[],
  cells: readonly ConfusionCell[],
): object {
  if (labels.length === 0) return {};
  const scores = classScores(measured.labels, measured.predicted, labels.length);
  return {
    classes: scores.map((one, c) => ({ label: labels[c], ...one })),
    confusion: cells.map(({ label, predicted, rows }) => ({
      label: labels[label],
      predicted: labels[predicted],
      rows,
    })),
  };
}

/** Fails where the picture could not be written, before anything takes time. */
async function checkPicture(file: string, classes: number): Promise<void> {
  if (classes === 0) {
    throw new UsageError('--confusion: the adapter predicts a number, there are no classes');
  }
  if (classes > MOST_PICTURED_CLASSES) {
    throw new UsageError(
      `--confusion: ${classes} classes, a picture holds at most ${MOST_PICTURED_CLASSES}; --json lists every confusion`,
    );
  }
  await checkWritable('--confusion', file, 'file');
}
