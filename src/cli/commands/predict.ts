import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { parseRows, type Sample } from '../../data/index.ts';
import { UsageError } from '../../tensor/errors.ts';
import { readAdapterFolder } from '../adapter-folder.ts';
import { addConfigFlag } from '../config-file.ts';
import { classifyRows, predictNumbers } from '../evaluate.ts';
import { interruptible } from '../interrupt.ts';
import { decimals } from '../metrics-text.ts';
import { type AdapterFlags, addAdapterFlags, openAdapter } from '../open-adapter.ts';

interface PredictFlags extends AdapterFlags {
  readonly text?: string;
  readonly textPair?: string;
  readonly json?: boolean;
}

/** `mobillm predict`: classes of texts, on the device alone. */
export function registerPredict(program: Command): void {
  addConfigFlag(addAdapterFlags(program.command('predict')))
    .description(
      'classify a text or predict its number, or each line of standard input, on this machine alone',
    )
    .option('--text <text>', 'the text; without it, lines of standard input are read')
    .option('--text-pair <text>', 'its second part, where the adapter was trained on pairs')
    .option('--json', 'print a JSON object a line')
    .addHelpText(
      'after',
      `
A line of standard input is a text, or a JSON object {"text": ..., "text_pair": ...}.
Output: label, tab, probability, tab, text; of an adapter that predicts a number: number, tab, text.`,
    )
    .action(async (flags: PredictFlags) => {
      await interruptible('prediction stopped', async (signal) => {
        if (flags.text === undefined && process.stdin.isTTY) {
          throw new UsageError('predict: give --text, or texts on standard input');
        }
        if (flags.text?.trim() === '') throw new UsageError('predict: --text is empty');
        const quiet = flags.json === true;
        const adapter = await readAdapterFolder(flags.adapterPath);
        if (adapter.config.lm) {
          throw new UsageError(
            `--adapter-path: ${flags.adapterPath} tunes a language model; mobillm generate runs it`,
          );
        }
        const device = await openAdapter(adapter, flags, { quiet, signal });
        const predict = async ({ text, textPair }: Omit<Sample, 'label'>) => {
          const batch = await device.encode([{ text, textPair, label: '' }]);
          const { labels, target } = adapter.config;
          // One line a text, whatever white space it holds.
          const line = text.replaceAll(/[\t\r\n]+/g, ' ');
          let [fields, words]: [object, string] = [{}, ''];
          if (target) {
            const [value] = await predictNumbers(device, 'adapter', [batch], target);
            [fields, words] = [{ value }, decimals(value)];
          } else {
            const [{ label, probability }] = await classifyRows(device, 'adapter', [batch]);
            fields = { label: labels[label], probability };
            words = `${labels[label]}\t${probability.toFixed(3)}`;
          }
          process.stdout.write(
            quiet
              ? `${JSON.stringify({ text, text_pair: textPair, ...fields })}\n`
              : `${words}\t${line}\n`,
          );
        };
        try {
          if (flags.text !== undefined) {
            await predict({ text: flags.text, textPair: flags.textPair });
            return;
          }
          let number = 0;
          for await (const line of createInterface({ input: process.stdin, signal })) {
            number++;
            if (line.trim() === '') continue;
            if (!line.trimStart().startsWith('{')) await predict({ text: line });
            else
              for (const row of parseRows(line, `standard input, line ${number}`))
                await predict(row);
          }
          // An interrupted input ends like one that is used up.
          signal.throwIfAborted();
        } finally {
          await device.close();
        }
      });
    });
}
