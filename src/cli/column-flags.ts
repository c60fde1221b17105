import { type Command, Option } from 'commander';
import type { ColumnNames } from '../data/index.ts';

/** Which columns of a data file hold what. */
export interface ColumnFlags {
  readonly textColumn?: string;
  readonly textPairColumn?: string;
  readonly labelColumn?: string;
}

/** --text-column, --text-pair-column, --label-column. */
export function addColumnFlags(command: Command): Command {
  return command
    .option('--text-column <name>', 'column or key of the text (default: "text")')
    .option('--text-pair-column <name>', 'that of a second text (default: "text_pair", if there)')
    .option('--label-column <name>', 'that of the label (default: "label")');
}

/** The columns as `data/` takes them. */
export function columnsOf(flags: ColumnFlags): ColumnNames {
  return { text: flags.textColumn, textPair: flags.textPairColumn, label: flags.labelColumn };
}

/** --task. */
export function addTaskFlag(command: Command): Command {
  return command.addOption(
    new Option(
      '--task <name>',
      'what a label is: the name of a class, or a number to predict; auto: a number where all labels are, and some have a fraction',
    )
      .choices(['auto', 'classification', 'regression'])
      .default('auto'),
  );
}
