import type { Command } from 'commander';
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
