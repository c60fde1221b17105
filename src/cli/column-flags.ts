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

/** --task, --no-mask-prompt. */
export function addTaskFlag(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--task <name>',
        'what is learnt: the class or the number (regression) that a label is, or the next token of a text (lm); auto: lm where rows have no labels; a number where all labels are, and some have a fraction',
      )
        .choices(['auto', 'classification', 'regression', 'lm'])
        .default('auto'),
    )
    .option('--no-mask-prompt', 'lm: learn prompts, too, and not their completions alone');
}
