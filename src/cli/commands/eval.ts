import type { Command } from 'commander';
import { loadSplit } from '../../data/index.ts';
import { readText } from '../../platform/node.ts';
import { readAdapterFolder } from '../adapter-folder.ts';
import { addColumnFlags, type ColumnFlags, columnsOf } from '../column-flags.ts';
import { encodeRows, measureAccuracy } from '../evaluate.ts';
import { integer } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { type AdapterFlags, addAdapterFlags, openAdapter } from '../open-adapter.ts';
import { ProgressLine, rateAndEta } from '../progress.ts';

interface EvalFlags extends AdapterFlags, ColumnFlags {
  readonly data: string;
  readonly split: string;
  readonly batchSize: number;
  readonly json?: boolean;
}

/** `mobillm eval`: accuracy of an adapter, on the device alone. */
export function registerEval(program: Command): void {
  const command = program
    .command('eval')
    .description('measure an adapter on labelled rows, on this machine alone')
    .requiredOption('--data <folder>', 'folder with the split as a .jsonl, .csv or .tsv file');
  addColumnFlags(addAdapterFlags(command))
    .option('--split <name>', 'which file of the folder', 'test')
    .option('--batch-size <n>', 'samples run together', integer(1), 32)
    .option('--json', 'print one JSON object on standard output')
    .action(async (flags: EvalFlags) => {
      await interruptible('evaluation stopped', async (signal) => {
        const quiet = flags.json === true;
        const adapter = await readAdapterFolder(flags.adapterPath);
        const { labels } = adapter.config;
        const columns = columnsOf(flags);
        const rows = await loadSplit(flags.data, flags.split, labels, { readText, columns });
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
          const indices = rows.map(({ label }) => labels.indexOf(label));
          const measured = await measureAccuracy(device, 'adapter', batches, indices);
          const { kernels, backend } = device.info;
          process.stdout.write(
            quiet
              ? `${JSON.stringify({ adapterPath: flags.adapterPath, data: flags.data, split: flags.split, ...measured, kernels, backend })}\n`
              : `accuracy ${(100 * measured.accuracy).toFixed(1)}% (${measured.correct} of ${measured.rows}); ${kernels}, ${backend}\n`,
          );
        } finally {
          line.done();
          await device.close();
        }
      });
    });
}
