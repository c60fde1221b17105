import { type Command, Option } from 'commander';
import { writeFileAtomic } from '../../platform/node.ts';
import { UsageError } from '../../tensor/errors.ts';
import { addColumnFlags, addTaskFlag } from '../column-flags.ts';
import { addConfigFlag, type ConfigValue, configText } from '../config-file.ts';
import { dryRun, renderDryRun } from '../dry-run.ts';
import { addModelFlags, addTapFlags, integer } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { unsavedText } from '../partial-job.ts';
import { printReport } from '../report.ts';
import { type TrainFlags, train } from '../train-job.ts';
import { addTrainingFlags, LABEL_PLACES } from '../training-flags.ts';

interface TrainCommandFlags extends Omit<TrainFlags, 'server'> {
  readonly server?: string;
  readonly dryRun?: boolean;
}

/** `mobillm train`: tunes a side network on one's own data, with a server. */
export function registerTrain(program: Command): void {
  const command = program
    .command('train')
    .description(
      'tune a side network on a folder of {train,valid,test}.{jsonl,csv,tsv}, with a server',
    )
    .option('--server <url>', 'ws:// or wss:// address of mobillm serve')
    .requiredOption(
      '--data <folder>',
      'folder with train.jsonl (.csv, .tsv, or a folder of them) and, if you like, valid and test; or one file',
    )
    .option('--adapter-path <folder>', 'where the adapter is written', 'adapter')
    .option('--token <secret>', "the server's secret", process.env.MOBILLM_TOKEN);
  addTrainingFlags(addTapFlags(addTaskFlag(addColumnFlags(addModelFlags(command)))))
    .option('--no-baselines', 'do not train the probe and the layer mix beside')
    .addOption(
      new Option(
        '--labels <where>',
        "where a language model's labels are: device keeps them, computes the loss, and has to stay until the end; see the README for what that hides",
      )
        .choices([...LABEL_PLACES])
        .default('server'),
    )
    .option('--random-backbone', 'control: replace the pretrained weights by random ones')
    .option(
      '--trace <file>',
      "write what device, wire and server did when, in Chrome's trace format",
    )
    .option(
      '--save-every <steps>',
      'steps between two checkpoints, where the server keeps jobs (serve --state-dir)',
      integer(1),
      100,
    )
    .option('--resume', 'go on with the job for --adapter-path that was broken off')
    .option('--restart', 'drop that job and begin anew')
    .option('--dry-run', 'print what it would do, send and take in memory, and do nothing')
    .option('--json', 'print one JSON object on standard output instead of the table');
  addConfigFlag(command)
    .addHelpText(
      'after',
      `
Data: a line a sample, {"text": "...", "label": "..."} with an optional "text_pair"; or a table, csv
(RFC 4180) or tsv (no quoting), whose first line names the columns; docs/data.md has the rest. Without
a file valid a tenth of train validates. The text stays here; what is sent are hidden states, in few
bits, and the labels: see "What stays private, and what does not" in the README.

A server with --state-dir keeps the job: after Ctrl-C, a crash of either end or a broken line, the same
command with --resume goes on, and gives the adapter that it would have given. Until that is written,
what this end has to know lies in <adapter-path>.partial.`,
    )
    .action(async ({ server, dryRun: dry, ...rest }: TrainCommandFlags) => {
      if (dry) return showDryRun(rest);
      if (server === undefined) {
        throw new UsageError('--server is missing; give the address that mobillm serve printed');
      }
      const flags: TrainFlags = { ...rest, server };
      await interruptible(
        () => unsavedText(flags.adapterPath),
        async (signal) => {
          const config = (resolved: Record<string, ConfigValue>) => configText(command, resolved);
          const { report, trace } = await train(flags, signal, config);
          printReport(report, flags.json === true);
          if (flags.trace) await writeFileAtomic(flags.trace, trace);
        },
      );
    });
}

async function showDryRun(flags: Omit<TrainFlags, 'server'>): Promise<void> {
  await interruptible('nothing was done', async (signal) => {
    const quiet = flags.json === true;
    const run = await dryRun(flags, { quiet, signal });
    process.stdout.write(`${quiet ? JSON.stringify(run) : renderDryRun(run)}\n`);
  });
}
