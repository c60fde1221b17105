import type { Sample } from '../data/index.ts';
import { renderSegments, templateTail } from '../data/template.ts';
import type { ChatTemplate, Tokenizer } from '../model/index.ts';
import { UsageError } from '../tensor/errors.ts';
import { lossTokens, wordLm } from './lm-wording.ts';
import type { TapPlan } from './tap-plan.ts';

/** A sample as the backbone reads it. */
export interface WordedSample {
  readonly ids: readonly number[];
  /** Where it is a pair of texts: 0 in the first, 1 in the second. */
  readonly tokenTypes?: readonly number[];
  /** Of a language model: whether each token is in the loss, as what follows those before it. */
  readonly loss?: readonly boolean[];
  /** What was tokenized: the prompt, the two texts of a pair, or what is learnt and what is not. */
  readonly texts: readonly string[];
  /** Whether it was cut to the longest allowed. */
  readonly truncated: boolean;
}

/** What of a plan decides how a sample is worded. */
export type Wording = Pick<TapPlan, 'template' | 'labels' | 'maxSeqLength' | 'lm'>;

/**
 * Token ids of a sample in its template. One that is too long loses the end of its text, never the
 * template's words behind it, which carry the question; a language model's row loses its end.
 * @param chatTemplate the model's, for conversations
 * @throws UsageError when the template alone is too long; `E_TEMPLATE` when it does not fit the
 * sample, or makes a pair of texts for a model that reads one
 */
export function wordSample(
  tokenizer: Tokenizer,
  sample: Omit<Sample, 'label'>,
  wording: Wording,
  chatTemplate?: ChatTemplate,
): WordedSample {
  const { maxSeqLength, lm } = wording;
  if (lm) return wordLm(tokenizer, sample, { ...wording, lm }, chatTemplate);
  let worded = tokensOf(tokenizer, sample, wording);
  if (worded.ids.length > 0 && worded.ids.length <= maxSeqLength) {
    return { ...worded, truncated: false };
  }
  if (worded.ids.length === 0) {
    return { ids: [tokenizer.eosTokenId ?? 0], texts: worded.texts, truncated: false };
  }
  // Drop the excess from text and pair, half each as far as both have it, then check: token
  // counts of parts do not add up exactly.
  const encode = (text: string) => tokenizer.encodePlain?.(text) ?? tokenizer.encode(text);
  const text = encode(sample.text);
  const pair = encode(sample.textPair ?? '');
  let excess = worded.ids.length - maxSeqLength;
  for (; worded.ids.length > maxSeqLength; excess++) {
    const fromPair = Math.min(pair.length, Math.max(Math.floor(excess / 2), excess - text.length));
    const fromText = excess - fromPair;
    if (fromText > text.length) {
      throw new UsageError(
        `--max-seq-length: ${maxSeqLength} tokens do not hold the template itself`,
      );
    }
    const keep = (ids: number[], dropped: number) =>
      tokenizer.decode(ids.slice(0, ids.length - dropped));
    const textPair = sample.textPair === undefined ? undefined : keep(pair, fromPair);
    worded = tokensOf(tokenizer, { text: keep(text, fromText), textPair }, wording);
  }
  return { ...worded, truncated: true };
}

/**
 * Tokens of the template's words behind the text.
 * @throws UsageError where it ends with the text
 */
export function tailTokens(tokenizer: Tokenizer, template: string): number {
  const tail = templateTail(template);
  const ids = tokenizer.encodePlain?.(tail) ?? tokenizer.encode(tail);
  if (ids.length > 0) return ids.length;
  throw new UsageError('--taps: template is the mean over its words behind the text; it has none');
}

/** How long samples are as the backbone reads them. */
export interface TokenSurvey {
  readonly samples: number;
  /** Of all samples, what stands in front of every prompt not counted. */
  readonly tokens: number;
  /** Tokens of the longest sample. */
  readonly longest: number;
  /** Samples cut to the longest allowed. */
  readonly truncated: number;
  /** Of a language model: tokens of each sample that are in the loss; samples of none are skipped. */
  readonly lossTokens?: readonly number[];
}

/**
 * Counts the tokens that samples come to, without running any of them.
 * @throws as `wordSample`
 */
export function surveyTokens(
  tokenizer: Tokenizer,
  samples: readonly Omit<Sample, 'label'>[],
  wording: Wording,
  chatTemplate?: ChatTemplate,
): TokenSurvey {
  let [tokens, longest, truncated] = [0, 0, 0];
  const inLoss: number[] = [];
  for (const sample of samples) {
    const worded = wordSample(tokenizer, sample, wording, chatTemplate);
    if (wording.lm) inLoss.push(...lossTokens([worded]).counts);
    tokens += worded.ids.length;
    longest = Math.max(longest, worded.ids.length);
    if (worded.truncated) truncated++;
  }
  const counted = { samples: samples.length, tokens, longest, truncated };
  return wording.lm ? { ...counted, lossTokens: inLoss } : counted;
}

/** Tokens of the sample in its template; of two texts where the template has a `{sep}`. */
function tokensOf(
  tokenizer: Tokenizer,
  { text, textPair }: Omit<Sample, 'label'>,
  { template, labels }: Wording,
): Omit<WordedSample, 'truncated'> {
  const texts = renderSegments(template, { text, textPair, labels });
  const [first, second] = texts;
  if (second === undefined) return { ids: tokenizer.encode(first), texts };
  const both = tokenizer.encodePair?.(first, second);
  if (both) return { ...both, texts };
  throw new UsageError(
    'template: {sep} stands there, but the model reads one text, not a pair',
    'E_TEMPLATE',
  );
}
