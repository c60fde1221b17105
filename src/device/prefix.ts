import type { Sample } from '../data/index.ts';
import { renderTemplate } from '../data/template.ts';
import type { ChatTemplate, Tokenizer } from '../model/index.ts';
import type { TapPlan } from './tap-plan.ts';
import { wordSample } from './wording.ts';

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

/**
 * Tokens in front of every sample: those of the plan's text, or of a language model's rows, each as
 * it would be trained on, its end token with it.
 * @throws as `wordSample`
 */
export function prefixIds(
  tokenizer: Tokenizer,
  plan: TapPlan,
  chatTemplate: ChatTemplate | undefined,
): number[] {
  const { prefix, lm } = plan;
  if (!lm) return prefix === '' ? [] : tokenizer.encode(prefix);
  const rows = lm.shots ?? [];
  return rows.flatMap((row) => [...wordSample(tokenizer, row, plan, chatTemplate).ids]);
}
