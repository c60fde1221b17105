import type { Sample } from '../data/index.ts';
import { renderTemplate } from '../data/template.ts';

/** Between an example's prompt and its label, and between examples. */
const BEFORE_LABEL = ' ';
const BETWEEN_SHOTS = '\n\n';

/**
 * Labelled examples as text to stand in front of every prompt, worded by the same template.
 * Its keys and values are computed once, so it costs attention but no upload.
 */
export function shotsPrefix(
  template: string,
  labels: readonly string[],
  shots: readonly Sample[],
): string {
  return shots
    .map(({ text, textPair, label }) => {
      const prompt = renderTemplate(template, { text, textPair, labels });
      return `${prompt}${BEFORE_LABEL}${label}${BETWEEN_SHOTS}`;
    })
    .join('');
}
