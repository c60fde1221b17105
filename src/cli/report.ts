import Table from 'cli-table3';
import type { Task } from '../data/index.ts';
import type { LabelExchange } from '../device/index.ts';
import type { TrainedModelInfo } from './adapter-config.ts';
import type { DataReport } from './data-report.ts';
import type { Scores } from './evaluate.ts';
import { type MemoryKinds, renderKinds } from './memory-kinds.ts';
import { decimals, percent } from './metrics-text.ts';
import { formatBytes, formatDuration } from './progress.ts';

/** What a training job came to; `--json` prints it as it is. Bytes and seconds. */
export interface TrainReport {
  readonly model: string;
  readonly data: string;
  readonly method: string;
  /** What was known of the data before training. */
  readonly dataset: DataReport;
  readonly rows: { train: number; valid: number; test: number };
  readonly task: Task;
  /** On the test rows; null where there are none, or no classes, or the baseline was not trained. */
  readonly accuracy: {
    majority: number | null;
    probe: number | null;
    mix: number | null;
    side: number | null;
  };
  /** What else was measured on the test rows, by the model's name; empty where there are none. */
  readonly test: Readonly<Record<string, Scores>>;
  /** What guessing without looking gets there: the most frequent class, or the mean. */
  readonly before: Scores | null;
  /** Accuracy on the validation rows, by which the number of epochs was chosen; null without classes. */
  readonly validation: Readonly<Record<string, number | null>>;
  readonly seconds: {
    wall: number;
    /** The device computing: rows that were sent and test rows. */
    device: number;
    /** The server training, baselines included. */
    server: number;
    /** Part of `server` during which the device computed. */
    hidden: number;
  };
  readonly bytes: { up: number; down: number };
  /** Where the labels were. */
  readonly labels: 'server' | 'device';
  /** Part of `bytes` that went to and fro because they stayed on the device; null where they did not. */
  readonly exchange: LabelExchange | null;
  /** Where the server had a language model's output head from; null where it had none. */
  readonly outputHead: string | null;
  readonly memory: {
    /** Highest resident set of the device process. */
    devicePeakRss: number;
    /** Most bytes the device's backend held: weights, activations, caches. */
    accounted: number;
    /** What the highest resident set was for. */
    kinds: MemoryKinds;
  };
  readonly tokens: {
    computed: number;
    prefix: number;
    perSecond: number;
    truncatedSamples: number;
  };
  readonly kernels: string;
  readonly deviceBackend: string;
  readonly serverBackend: string;
  readonly server: {
    cache: { memory: number; spilled: number };
    models: readonly TrainedModelInfo[];
  };
  readonly randomBackbone: boolean;
  readonly adapterPath: string;
}

/** Prints a report as a table for people, or as one JSON object. */
export function printReport(report: TrainReport, json: boolean): void {
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${renderReport(report)}\n`);
}

/** Figures of one method in the columns of its task. */
function figures(report: TrainReport, scores: Scores | null | undefined): string[] {
  if (report.task === 'classification') {
    if (!scores || !('accuracy' in scores)) return ['-', '-', '-'];
    return [percent(scores.accuracy), scores.macroF1.toFixed(3), scores.matthews.toFixed(3)];
  }
  if (!scores || !('rmse' in scores)) return ['-', '-', '-'];
  const correlation = (value: number | null) => value?.toFixed(3) ?? '-';
  return [decimals(scores.rmse), correlation(scores.pearson), correlation(scores.spearman)];
}

/** A language model before and after. */
function renderPerplexity(report: TrainReport): string {
  const table = new Table({
    head: ['model', 'validation perplexity', 'test perplexity', 'parameters', 'server time'],
    style: { head: [], border: [] },
  });
  const score = report.test[report.method];
  const test = score && 'perplexity' in score ? score : undefined;
  const model = report.server.models.find((one) => one.name === report.method);
  if (!model) return '';
  const perplexity = (loss: number | undefined) =>
    loss === undefined ? '-' : decimals(Math.exp(loss));
  const tested = (value: number | undefined) => (value === undefined ? '-' : decimals(value));
  table.push(
    [
      ...['frozen (before)', perplexity(model.startLoss), tested(test?.basePerplexity)],
      ...['0', '-'],
    ],
    [
      ...[`${report.method} side network (after)`, perplexity(model.validLoss)],
      ...[tested(test?.perplexity), model.parameters.toLocaleString('en')],
      `${model.seconds.toFixed(1)} s`,
    ],
  );
  return table.toString();
}

/** What was trained against what it has to beat. */
function renderScores(report: TrainReport): string {
  if (report.task === 'lm') return renderPerplexity(report);
  const classes = report.task === 'classification';
  const scores = new Table({
    head: [
      'method',
      ...(classes
        ? ['test accuracy', 'macro-F1', 'Matthews']
        : ['test RMSE', 'Pearson', 'Spearman']),
      ...['validation', 'parameters', 'server time'],
    ],
    style: { head: [], border: [] },
  });
  const before = classes ? 'majority class (before)' : 'mean of the labels (before)';
  scores.push([before, ...figures(report, report.before), '-', '0', '-']);
  const { deviation = 1 } = report.dataset.numbers ?? {};
  const row = (label: string, name: string) => {
    const model = report.server.models.find((one) => one.name === name);
    if (!model) return;
    // The server sees standardised labels: its loss is in squared deviations.
    const validation = classes
      ? percent(model.validAccuracy)
      : decimals(deviation * Math.sqrt(model.validLoss));
    scores.push([
      ...[label, ...figures(report, report.test[name]), validation],
      ...[model.parameters.toLocaleString('en'), `${model.seconds.toFixed(1)} s`],
    ]);
  };
  row('linear probe, last layer', 'probe');
  row('layer mix', 'mix');
  if (!['probe', 'mix'].includes(report.method)) {
    row(`${report.method} side network (after)`, report.method);
  }
  return scores.toString();
}

/** Where a language model's loss was computed, and what that took. */
function labelFacts({ exchange, outputHead }: TrainReport): [string, string][] {
  if (!exchange) return outputHead === null ? [] : [['output head', outputHead]];
  const { parts, tokens, bytes, computeMs } = exchange;
  const count = (n: number) => n.toLocaleString('en');
  return [
    [
      'labels',
      `stayed on the device: ${count(tokens)} tokens in ${count(parts)} parts, ${formatBytes(bytes.down)} of states down, ${formatBytes(bytes.up)} of gradients up, ${(computeMs / 1000).toFixed(1)} s here`,
    ],
  ];
}

/** The report as tables. */
export function renderReport(report: TrainReport): string {
  const { seconds, bytes, memory, tokens, rows } = report;
  const scores = renderScores(report);
  const facts = new Table({ style: { head: [], border: [] } });
  const hidden = seconds.server > 0 ? seconds.hidden / seconds.server : 0;
  const backbone = report.randomBackbone ? ', RANDOM weights (control)' : '';
  facts.push(
    ['model', `${report.model}${backbone}`],
    ['data', `${report.data}: ${rows.train} train, ${rows.valid} valid, ${rows.test} test`],
    ['wall clock', formatDuration(seconds.wall)],
    [
      'device computing',
      `${seconds.device.toFixed(1)} s, ${tokens.computed} tokens at ${tokens.perSecond.toFixed(0)}/s`,
    ],
    [
      'server training',
      `${seconds.server.toFixed(1)} s, ${(100 * hidden).toFixed(0)}% of it hidden behind the device`,
    ],
    ['bytes up, down', `${formatBytes(bytes.up)}, ${formatBytes(bytes.down)}`],
    ...labelFacts(report),
    [
      'device memory',
      `${formatBytes(memory.devicePeakRss)} peak resident: ${renderKinds(memory.kinds)}`,
    ],
    ['device ran', `${report.kernels}; ${report.deviceBackend}`],
    ['server ran', report.serverBackend],
    ['adapter', report.adapterPath],
  );
  if (tokens.prefix > 0) facts.push(['examples in front', `${tokens.prefix} tokens, run once`]);
  if (tokens.truncatedSamples > 0) {
    facts.push(['cut to --max-seq-length', `${tokens.truncatedSamples} samples`]);
  }
  return `${scores}\n${facts.toString()}`;
}
