import Table from 'cli-table3';
import type { ClassificationScores } from '../data/index.ts';
import type { TrainedModelInfo } from './adapter-config.ts';
import type { DataReport } from './data-report.ts';
import { percent } from './metrics-text.ts';
import { formatBytes, formatDuration } from './progress.ts';

/** What a training job came to; `--json` prints it as it is. Bytes and seconds. */
export interface TrainReport {
  readonly model: string;
  readonly data: string;
  readonly method: string;
  /** What was known of the data before training. */
  readonly dataset: DataReport;
  readonly rows: { train: number; valid: number; test: number };
  /** On the test rows; null where there are none, or the baseline was not trained. */
  readonly accuracy: {
    majority: number | null;
    probe: number | null;
    mix: number | null;
    side: number | null;
  };
  /** What else was measured on the test rows, by the model's name; empty where there are none. */
  readonly test: Readonly<Record<string, ClassificationScores>>;
  /** On the validation rows, by which the number of epochs was chosen. */
  readonly validation: Readonly<Record<string, number>>;
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
  readonly memory: {
    /** Highest resident set of the device process. */
    devicePeakRss: number;
    /** Most bytes the device's backend held: weights, activations, caches. */
    accounted: number;
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

/** The report as tables. */
export function renderReport(report: TrainReport): string {
  const { accuracy, seconds, bytes, memory, tokens, rows } = report;
  const scores = new Table({
    head: [
      'method',
      'test accuracy',
      'macro-F1',
      'Matthews',
      'validation',
      'parameters',
      'server time',
    ],
    style: { head: [], border: [] },
  });
  const info = new Map(report.server.models.map((model) => [model.name as string, model]));
  const row = (label: string, name: string, score: number | null) => {
    const model = info.get(name);
    if (name !== 'majority' && !model) return;
    scores.push([
      label,
      percent(score),
      report.test[name]?.macroF1.toFixed(3) ?? '-',
      report.test[name]?.matthews.toFixed(3) ?? '-',
      model ? percent(model.validAccuracy) : '-',
      model ? model.parameters.toLocaleString('en') : '0',
      model ? `${model.seconds.toFixed(1)} s` : '-',
    ]);
  };
  row('majority class (before)', 'majority', accuracy.majority);
  row('linear probe, last layer', 'probe', accuracy.probe);
  row('layer mix', 'mix', accuracy.mix);
  if (!['probe', 'mix'].includes(report.method)) {
    row(`${report.method} side network (after)`, report.method, accuracy.side);
  }
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
    [
      'device memory',
      `${formatBytes(memory.devicePeakRss)} peak resident, ${formatBytes(memory.accounted)} of it tensors`,
    ],
    ['device ran', `${report.kernels}; ${report.deviceBackend}`],
    ['server ran', report.serverBackend],
    ['adapter', report.adapterPath],
  );
  if (tokens.prefix > 0) facts.push(['examples in front', `${tokens.prefix} tokens, run once`]);
  if (tokens.truncatedSamples > 0) {
    facts.push(['cut to --max-seq-length', `${tokens.truncatedSamples} samples`]);
  }
  return `${scores.toString()}\n${facts.toString()}`;
}
