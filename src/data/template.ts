import { UsageError } from '../tensor/errors.ts';

/** What a prompt is made of. */
export interface TemplateValues {
  readonly text: string;
  readonly textPair?: string;
  /** Class names; `{labels}` becomes them with commas between. */
  readonly labels: readonly string[];
}

const PLACEHOLDERS = ['text', 'text_pair', 'labels', 'sep'] as const;
type Placeholder = (typeof PLACEHOLDERS)[number];
type Part = { readonly literal: string } | { readonly placeholder: Placeholder };

function fail(message: string): never {
  const known = PLACEHOLDERS.map((name) => `{${name}}`).join(', ');
  throw new UsageError(`template: ${message}; placeholders are ${known}`, 'E_TEMPLATE');
}

function partsOf(template: string): Part[] {
  const parts: Part[] = [];
  // A doubled brace, a placeholder, a lone brace, or text without braces.
  for (const match of template.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g)) {
    const [token, name] = match;
    if (name !== undefined) {
      if (!(PLACEHOLDERS as readonly string[]).includes(name)) fail(`{${name}} is unknown`);
      parts.push({ placeholder: name as Placeholder });
    } else if (token === '{{' || token === '}}') {
      parts.push({ literal: token.slice(1) });
    } else if (token === '{' || token === '}') {
      fail(`a lone "${token}" at character ${match.index + 1}, write "${token}${token}" for one`);
    } else parts.push({ literal: token });
  }
  return parts;
}

let last: { template: string; parts: Part[] } = { template: '', parts: [] };

/**
 * Words the parts of a prompt: one, or two around `{sep}` for a model that reads pairs. `{text}`,
 * `{text_pair}` and `{labels}` are replaced, `{{` and `}}` stand for braces. What is put in is never
 * read for placeholders itself.
 * @throws UsageError `E_TEMPLATE` for an unknown placeholder, by name; for a lone brace; for
 * `{text_pair}` where the row has none; for a second `{sep}`.
 */
export function renderSegments(
  template: string,
  values: TemplateValues,
): readonly [string] | readonly [string, string] {
  // A run renders one template for every row: take it apart once.
  if (last.template !== template) last = { template, parts: partsOf(template) };
  const out: [string, string] = ['', ''];
  let at = 0;
  for (const part of last.parts) {
    if ('literal' in part) out[at] += part.literal;
    else if (part.placeholder === 'text') out[at] += values.text;
    else if (part.placeholder === 'labels') out[at] += values.labels.join(', ');
    else if (part.placeholder === 'sep') {
      if (++at > 1) fail('{sep} stands there twice, a model reads two texts at most');
    } else
      out[at] += values.textPair ?? fail('{text_pair} stands there, but a row has no text_pair');
  }
  return at === 0 ? [out[0]] : out;
}

/**
 * Words a prompt of one text; see `renderSegments`.
 * @throws UsageError `E_TEMPLATE`: as `renderSegments`, and for `{sep}`.
 */
export function renderTemplate(template: string, values: TemplateValues): string {
  const [text, ...more] = renderSegments(template, values);
  if (more.length > 0) fail(ONE_TEXT);
  return text;
}

const ONE_TEXT = '{sep} stands there, but this model reads one text, not a pair';

/** The words of a template behind the last of what a row fills in: those that ask for its label. */
export function templateTail(template: string): string {
  const parts = partsOf(template);
  const filled = parts.findLastIndex((part) => 'placeholder' in part);
  return parts
    .slice(filled + 1)
    .map((part) => ('literal' in part ? part.literal : ''))
    .join('');
}

/**
 * Checks a template against the data and the model before any work begins.
 * @param pairs whether the data's rows have a `text_pair`.
 * @param segments whether the model can read a pair as two texts; as if it could unless told.
 * @throws UsageError `E_TEMPLATE`: as `renderSegments`, and when `{text}` is missing, or
 * `{text_pair}` is while the data has pairs, which would silently ignore half of every row; for
 * `{sep}` where the model reads one text.
 */
export function checkTemplate(template: string, pairs: boolean, segments = true): void {
  const used = partsOf(template).map((part) => 'placeholder' in part && part.placeholder);
  if (!used.includes('text')) fail('{text} is missing, so all prompts would be equal');
  if (pairs && !used.includes('text_pair')) {
    fail('{text_pair} is missing, and the data has text pairs');
  }
  if (!pairs && used.includes('text_pair')) {
    fail('{text_pair} stands there, but rows have no text_pair');
  }
  const seps = used.filter((one) => one === 'sep').length;
  if (seps > 0 && !segments) fail(ONE_TEXT);
  if (seps > 1) fail('{sep} stands there twice, a model reads two texts at most');
}

/** A template as typed in a shell: `\n`, `\t` and `\\` become what they stand for. */
export function unescapeTemplate(typed: string): string {
  return typed.replace(/\\([nt\\])/g, (_, c: string) => (c === 'n' ? '\n' : c === 't' ? '\t' : c));
}
