import type { Command } from 'commander';
import { writeFileAtomic } from '../../platform/node.ts';
import { addColumnFlags } from '../column-flags.ts';
import { addConfigFlag, type ConfigValue, configText } from '../config-file.ts';
import { addModelFlags, addTapFlags } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { printReport } from '../report.ts';
import { type TrainFlags, train } from '../train-job.ts';
import { addTrainingFlags } from '../training-flags.ts';

/** `mobillm train`: tunes a side network on one's own data, with a server. */
export function registerTrain(program: Command): void {
  const command = program
    .command('train')
    .description(
      'tune a side network on a folder of {train,valid,test}.{jsonl,csv,tsv}, with a server',
    )
    .requiredOption('--server <url>', 'ws:// or wss:// address of mobillm serve')
    .requiredOption(
      '--data <folder>',
      'folder with train.jsonl (.csv, .tsv) and, if you like, valid and test',
    )
    .option('--adapter-path <folder>', 'where the adapter is written', 'adapter')
    .option('--token <secret>', "the server's secret", process.env.MOBILLM_TOKEN);
  addTrainingFlags(addTapFlags(addColumnFlags(addModelFlags(command))))
    .option('--no-baselines', 'do not train the probe and the layer mix beside')
    .option('--random-backbone', 'control: replace the pretrained weights by random ones')
    .option(
      '--trace <file>',
      "write what device, wire and server did when, in Chrome's trace format",
    )
    .option('--json', 'print one JSON object on standard output instead of the table');
  addConfigFlag(command)
    .addHelpText(
      'after',
      `
Data: a line a sample, {"text": "...", "label": "..."} with an optional "text_pair"; or a table, csv
(RFC 4180) or tsv (no quoting), whose first line names the columns. Without a file valid a tenth of
train validates. The text stays here; what is sent are hidden states,
in few bits, and the labels: see "Privacy" in the README.`,
    )
    .action(async (flags: TrainFlags) => {
      await interruptible(`no adapter was written to ${flags.adapterPath}`, async (signal) => {
        const config = (resolved: Record<string, ConfigValue>) => configText(command, resolved);
        const { report, trace } = await train(flags, signal, config);
        printReport(report, flags.json === true);
        if (flags.trace) await writeFileAtomic(flags.trace, trace);
      });
    });
}
