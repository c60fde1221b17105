// Results as one self-contained page: the roofline, then a bar a case, families apart; no script, nothing
// fetched.

import { escaped } from './escaped.ts';
import type { BenchResult, Machine } from './harness.ts';
import type { Arithmetic } from './peak.ts';
import { rooflineOf } from './roofline.ts';

/** All of a page. */
export interface BenchPage {
  readonly machine: Machine;
  /** Timed by `--quick`, so that rates say little. */
  readonly quick: boolean;
  /** 10^9 operations a second at most, by arithmetic. */
  readonly peaks: ReadonlyMap<Arithmetic, number>;
  /** 10^9 bytes a second at most, over so many bytes. */
  readonly bandwidths: readonly { readonly bytes: number; readonly gbs: number }[];
  readonly results: readonly BenchResult[];
  /** Names of cases that failed. */
  readonly failures: readonly string[];
}

/** Pixels of a chart. */
const LABELS = 330;
const BARS = 420;
const RATES = 190;
const ROW = 20;
const THICKNESS = 14;

/** Bars begin at 0 and share a scale only within a family: others count something else. */
const STYLE = `
:root { color-scheme: light dark; --bar: #2a78b8; --best: #d1731b; }
@media (prefers-color-scheme: dark) { :root { --bar: #4a9bdc; --best: #f0a050; } }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: ${LABELS + BARS + RATES}px; padding: 0 1rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
svg { display: block; max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: currentColor; }
.bar { fill: var(--bar); }
.best { stroke: var(--best); stroke-width: 2; }
.roof { stroke: currentColor; stroke-width: 1; fill: none; opacity: .6; }
.failed { color: #c22; }
`.trim();

/** The page as HTML. Widths are of the mean rate, a stroke stands at the fastest sample. */
export function renderHtml(page: BenchPage): string {
  const { machine, quick, results, failures } = page;
  const families = new Map<string, BenchResult[]>();
  for (const result of results) {
    const title = `${result.name.split('/')[0]}, ${rateOf(result).unit}`;
    families.set(title, [...(families.get(title) ?? []), result]);
  }
  const facts = [
    `${machine.cpu}, ${machine.cores} cores, load ${machine.load}; ${machine.runtime}.`,
    'A bar is the mean rate, the stroke the fastest sample; every case was compared with its reference first.',
    'Only ratios of one run on a quiet machine mean something.',
  ];
  if (quick) facts.push('Timed by --quick: these rates say little.');
  return `${[
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<title>mobillm: kernels</title>',
    `<style>${STYLE}</style>`,
    '</head>',
    '<body>',
    '<h1>mobillm: kernels</h1>',
    `<p>${facts.map((fact) => escaped(fact)).join('<br>')}</p>`,
    ...failures.map((name) => `<p class="failed">failed: ${escaped(name)}</p>`),
    ...rooflineOf(page),
    ...[...families].flatMap(([title, members]) => [
      `<h2>${escaped(title)}</h2>`,
      chartOf(title, members),
    ]),
    '</body>',
    '</html>',
  ].join('\n')}\n`;
}

/** What a bar shows: operations where there are any, else bytes. */
function rateOf({ gops, bestGops, gbs, bestGbs }: BenchResult) {
  return gops === null || bestGops === null
    ? { unit: 'GB/s', rate: gbs, bestRate: bestGbs }
    : { unit: 'GOP/s', rate: gops, bestRate: bestGops };
}

function chartOf(title: string, results: readonly BenchResult[]): string {
  const [width, height] = [LABELS + BARS + RATES, ROW * results.length];
  const largest = Math.max(...results.map((result) => rateOf(result).bestRate));
  const rows = results.map((result, i) => {
    const { name, variant, marginPercent, samples, peakShare } = result;
    const { unit, rate, bestRate } = rateOf(result);
    const length = (value: number) => ((value / largest) * BARS).toFixed(1);
    const [top, middle] = [i * ROW + (ROW - THICKNESS) / 2, i * ROW + ROW / 2 + 4];
    const best = (LABELS + Number(length(bestRate))).toFixed(1);
    const margin = marginPercent === null ? '' : ` ± ${marginPercent.toFixed(1)}%`;
    const share = peakShare === null ? '' : `, ${Math.round(peakShare * 100)}% of its ceiling`;
    const about = `${name}: ${variant}, ${samples} samples, best ${bestRate.toFixed(2)} ${unit}${share}`;
    return [
      `<g><title>${escaped(about)}</title>`,
      `<text x="${LABELS - 8}" y="${middle}" text-anchor="end">${escaped(name)}</text>`,
      `<rect class="bar" x="${LABELS}" y="${top}" width="${length(rate)}" height="${THICKNESS}"/>`,
      `<line class="best" x1="${best}" x2="${best}" y1="${top}" y2="${top + THICKNESS}"/>`,
      `<text x="${LABELS + BARS + 8}" y="${middle}">${escaped(`${rate.toFixed(2)} ${unit}${margin}`)}</text></g>`,
    ].join('');
  });
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">`;
  return [open, ...rows, '</svg>'].join('\n');
}
