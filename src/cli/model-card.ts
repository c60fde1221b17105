import type { AdapterConfig } from '../model/index.ts';
import { SHAPE_WORDS } from './data-report.ts';

/** Text in a cell of a Markdown table. */
const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** A word of a shell command, quoted where it has to be. */
const shellWord = (text: string) =>
  /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** Classes that the card names; adapter_config.json has them all. */
const NAMED = 100;

function naming(labels: readonly string[]): string {
  const more = labels.length > NAMED ? ` and ${labels.length - NAMED} more` : '';
  return `${labels.slice(0, NAMED).join(', ')}${more}`;
}

function whatItIs({ labels, target, lm }: AdapterConfig): string {
  if (lm) return `It tunes the text that the model makes, after ${SHAPE_WORDS[lm.shape]},`;
  if (!target) return `A classifier of ${labels.length} classes (${naming(labels)})`;
  return `It predicts a number (those it was trained on: mean ${target.mean}, deviation ${target.deviation})`;
}

/** The README.md of an adapter folder: what it is, how to use it, how it was made, what to expect. */
export function modelCard(config: AdapterConfig): string {
  const { base_model: base, training, metrics, codec } = config;
  const rows = (record: Record<string, unknown>) =>
    Object.entries(record)
      .map(
        ([key, value]) =>
          `| ${key} | ${cell(typeof value === 'string' ? value : JSON.stringify(value))} |`,
      )
      .join('\n');
  return `---
base_model: ${JSON.stringify(base.name)}
library_name: mobillm
pipeline_tag: ${config.lm ? 'text-generation' : 'text-classification'}
tags: [side-tuning, mobillm]
---

# ${config.side} side network for ${base.name}

${whatItIs(config)} beside a frozen backbone.
It reads the backbone's hidden states; the backbone's weights are unchanged.

\`\`\`sh
mobillm ${config.lm ? 'generate' : 'predict'} --model ${shellWord(base.name)} --adapter-path . ${config.lm ? '-p' : '--text'} "..."
mobillm eval --model ${shellWord(base.name)} --adapter-path . --data DIR
\`\`\`

| base model | |
|---|---|
| architecture | ${base.architecture}, ${base.num_hidden_layers} layers of width ${base.hidden_size} |
| SHA-256 of its weights | \`${base.sha256}\` |
| ran as | ${config.precision} |

| input | |
|---|---|
| template | ${config.lm?.chat ? "the model's chat template" : cell(JSON.stringify(config.template))} |
| examples in front | ${examplesOf(config)} |
| longest sample | ${config.max_seq_length} tokens |
| tapped layers | ${config.layers.join(' ')} |
| tokens read | ${config.taps.join(', ')} |
| activations | ${codec.bits} bits in groups of ${codec.group_size} |

## Training

| hyper-parameter | |
|---|---|
${rows(training)}

## Results

| measured | |
|---|---|
${rows(metrics)}

Figures are of the run that made this folder. The hidden states it was trained from were sent to
a server; they can reveal much of the text they came from.
`;
}

/** What stands in front of every prompt. */
function examplesOf({ prefix, lm }: AdapterConfig): string {
  if (lm?.shots) return `${lm.shots.length} rows`;
  return prefix ? `${prefix.split('\n').length} lines` : 'none';
}
