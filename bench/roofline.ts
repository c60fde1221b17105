// The roofline (Williams, Waterman, Patterson 2009): operations a second over operations a byte, both in
// powers of two. Slopes are what memory gives, levels what each kind of multiply-accumulate gives; a
// point can be below all of its roofs, never above.
import { escaped } from './escaped.ts';
import type { BenchPage } from './html.ts';

/** Pixels: the plot, and what stands around it. */
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [560, 320, 60, 40];
/** Room at the right for the names of levels. */
const NAMES = 300;

/** The chart, or nothing where no case counts operations. */
export function rooflineOf({ peaks, bandwidths, results }: BenchPage): string[] {
  const points = results.flatMap(({ name, intensity, bestGops, peakShare, arithmetic }) =>
    intensity === null || bestGops === null || arithmetic === null
      ? []
      : [{ name, x: intensity, y: bestGops, share: peakShare ?? 0, arithmetic }],
  );
  if (points.length === 0) return [];
  const [low, high] = [
    Math.floor(Math.log2(Math.min(...points.map(({ x }) => x)))) - 1,
    Math.ceil(Math.log2(Math.max(...points.map(({ x }) => x)))) + 1,
  ];
  const top = Math.ceil(Math.log2(Math.max(...peaks.values(), ...points.map(({ y }) => y))));
  const floor = Math.floor(Math.log2(Math.min(...points.map(({ y }) => y)))) - 1;
  const x = (value: number) => LEFT + ((Math.log2(value) - low) / (high - low)) * WIDTH;
  const y = (value: number) => ((top - Math.log2(value)) / (top - floor)) * HEIGHT + 10;
  const at = (value: number) => value.toFixed(1);

  const marks: string[] = [];
  for (let power = low; power <= high; power += 2) {
    marks.push(
      `<text x="${at(x(2 ** power))}" y="${HEIGHT + 30}" text-anchor="middle">${2 ** power}</text>`,
    );
  }
  for (let power = floor; power <= top; power++) {
    marks.push(
      `<text x="${LEFT - 8}" y="${at(y(2 ** power) + 4)}" text-anchor="end">${2 ** power}</text>`,
    );
  }
  const highest = Math.max(...peaks.values());
  // Names of levels that nearly meet are moved apart.
  let lowestName = Number.NEGATIVE_INFINITY;
  const levels = [...peaks]
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, gops]) => {
      const nameAt = Math.max(y(gops) + 4, lowestName + 14);
      lowestName = nameAt;
      return `<line class="roof" x1="${LEFT}" x2="${LEFT + WIDTH}" y1="${at(y(gops))}" y2="${at(y(gops))}"/><text x="${LEFT + WIDTH + 8}" y="${at(nameAt)}">${escaped(name)}, ${gops.toFixed(1)}</text>`;
    });
  const slopes = bandwidths.map(({ bytes, gbs }) => {
    // From the lower edge of the plot, or its left side, up to the highest level.
    const from = Math.max(2 ** low, 2 ** floor / gbs);
    const to = Math.min(2 ** high, highest / gbs);
    if (to <= from) return '';
    const title = `reading ${bytes / 2 ** 20} MiB: ${gbs.toFixed(1)} GB/s`;
    return `<g><title>${title}</title><line class="roof" x1="${at(x(from))}" y1="${at(y(from * gbs))}" x2="${at(x(to))}" y2="${at(y(to * gbs))}"/></g>`;
  });
  const dots = points.map(
    (point) =>
      `<g><title>${escaped(`${point.name}: ${point.y.toFixed(1)} GOP/s, ${Math.round(point.share * 100)}% of ${point.arithmetic}`)}</title><circle class="bar" cx="${at(x(point.x))}" cy="${at(y(point.y))}" r="3.5"/></g>`,
  );
  const [width, height] = [LEFT + WIDTH + NAMES, HEIGHT + BOTTOM + 14];
  return [
    '<h2>Roofline: GOP/s over operations a byte</h2>',
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Roofline">`,
    ...marks,
    ...levels,
    ...slopes,
    ...dots,
    '</svg>',
    `<p>${escaped(`Levels: ceilings of loops over registers alone. Slopes: ${bandwidths.map(({ bytes, gbs }) => `${gbs.toFixed(1)} GB/s over ${bytes / 2 ** 20} MiB`).join(', ')}. Points: the fastest samples.`)}</p>`,
  ];
}
