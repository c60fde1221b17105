import type { ClassificationScores, ConfusionCell } from '../data/index.ts';

/** Most classes that a picture of a confusion matrix shows. */
export const MOST_PICTURED_CLASSES = 500;

/** Characters of a class's name before it is cut. */
const LABEL_LENGTH = 32;
/** Above so many classes cells are too small for figures. */
const NUMBERED_CLASSES = 40;
const LARGE_CELL = 32;
const SMALL_CELL = 14;
const FONT_SIZE = 12;
/** Width of a character of the font, about, in its size. */
const CHARACTER = 0.62;
const GAP = 8;

/** Text inside an element or attribute, without what XML 1.0 has no character for. */
function xml(text: string): string {
  return text
    .toWellFormed()
    .replace(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function short(label: string): string {
  const characters = [...label.replaceAll(/\s+/g, ' ')];
  return characters.length > LABEL_LENGTH
    ? `${characters.slice(0, LABEL_LENGTH - 3).join('')}...`
    : characters.join('');
}

/**
 * A confusion matrix as an SVG image: a row a label, a column a prediction, darker where a larger
 * share of the row's samples went; every cell that is not empty has a tooltip.
 * @param labels class names, as many as `MOST_PICTURED_CLASSES` at the most.
 * @param title what was measured.
 */
export function confusionSvg(
  labels: readonly string[],
  cells: readonly ConfusionCell[],
  scores: ClassificationScores,
  title: string,
): string {
  const count = labels.length;
  const numbered = count <= NUMBERED_CLASSES;
  const cell = numbered ? LARGE_CELL : SMALL_CELL;
  const size = numbered ? FONT_SIZE : SMALL_CELL - 4;
  const names = labels.map(short);
  const longest = Math.max(...names.map((name) => [...name].length));
  const margin = Math.ceil(longest * size * CHARACTER) + 2 * GAP;
  const left = margin + 2 * FONT_SIZE;
  const head = 3 * FONT_SIZE + 2 * GAP;
  const top = head + margin + 2 * FONT_SIZE;
  const figures = `accuracy ${(100 * scores.accuracy).toFixed(1)}% of ${scores.rows}, macro-F1 ${scores.macroF1.toFixed(3)}, Matthews ${scores.matthews.toFixed(3)}`;
  const width = Math.max(
    left + count * cell + GAP,
    Math.ceil(Math.max(figures.length, title.length) * FONT_SIZE * CHARACTER) + 2 * GAP,
  );
  const height = top + count * cell + GAP;
  const rows = new Map<number, number>();
  for (const { label, rows: n } of cells) rows.set(label, (rows.get(label) ?? 0) + n);
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="${FONT_SIZE}" role="img">`,
    `<title>${xml(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${GAP}" y="${FONT_SIZE + GAP}" font-weight="bold">${xml(title)}</text>`,
    `<text x="${GAP}" y="${2.5 * FONT_SIZE + GAP}">${figures}</text>`,
    `<text x="${left + (count * cell) / 2}" y="${head + FONT_SIZE}" text-anchor="middle" fill="#555555">predicted</text>`,
    `<text transform="translate(${FONT_SIZE + 2} ${top + (count * cell) / 2}) rotate(-90)" text-anchor="middle" fill="#555555">label</text>`,
  ];
  names.forEach((name, i) => {
    const middle = (i + 0.5) * cell;
    const at = `text-anchor="end" dominant-baseline="middle" font-size="${size}"`;
    out.push(
      `<text x="${left - GAP}" y="${top + middle}" ${at}>${xml(name)}</text>`,
      `<text transform="translate(${left + middle} ${top - GAP}) rotate(-90)" text-anchor="start" dominant-baseline="middle" font-size="${size}">${xml(name)}</text>`,
    );
  });
  for (const { label, predicted, rows: n } of cells) {
    const share = n / (rows.get(label) as number);
    const [x, y] = [left + predicted * cell, top + label * cell];
    // From white to a blue (hits) or a red (misses) that still carries white figures.
    const hue = label === predicted ? 215 : 8;
    const fill = `hsl(${hue} 70% ${(97 - 55 * share).toFixed(1)}%)`;
    const tip = `${labels[label]} predicted as ${labels[predicted]}: ${n} of ${rows.get(label)}`;
    out.push(
      `<rect x="${x}" y="${y}" width="${cell}" height="${cell}" fill="${fill}"><title>${xml(tip)}</title></rect>`,
    );
    if (numbered) {
      const colour = share > 0.6 ? '#ffffff' : '#000000';
      out.push(
        `<text x="${x + cell / 2}" y="${y + cell / 2}" text-anchor="middle" dominant-baseline="central" fill="${colour}" pointer-events="none">${n}</text>`,
      );
    }
  }
  out.push(
    `<rect x="${left}" y="${top}" width="${count * cell}" height="${count * cell}" fill="none" stroke="#999999"/>`,
    '</svg>',
  );
  return `${out.join('\n')}\n`;
}
