import { Template } from '@huggingface/jinja';
import { FormatError } from '../tensor/errors.ts';

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

/** Words a conversation the way a model was trained on, as transformers' `apply_chat_template`. */
export interface ChatTemplate {
  /**
   * The conversation as one text, control tokens written out.
   * @param addGenerationPrompt end with what begins the assistant's next turn
   * @throws FormatError (E_CHAT_TEMPLATE) when the template refuses the messages or cannot be run
   */
  render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string;
}

/**
 * A model's chat template.
 * @param source Jinja, as it stands in the model's files
 * @param name what to call the file in messages
 * @param tokens texts of special tokens, under the names that templates know (`bos_token`)
 * @throws FormatError (E_CHAT_TEMPLATE) when it is no template
 */
export function chatTemplate(
  source: string,
  name: string,
  tokens: Readonly<Record<string, string>>,
): ChatTemplate {
  const attempt = <T>(body: () => T): T => {
    try {
      return body();
    } catch (error) {
      const reason = (error as Error).message.replace(/\s+/g, ' ');
      throw new FormatError(`${name}: its chat template: ${reason}`, 'E_CHAT_TEMPLATE');
    }
  };
  const template = attempt(() => new Template(source));
  stripWhatIsAsked(template.parsed);
  return {
    render: (messages, addGenerationPrompt) =>
      attempt(() =>
        template.render({
          ...tokens,
          ...STRIPS,
          messages: messages.map((message) => ({ ...message })),
          add_generation_prompt: addGenerationPrompt,
          tools: null,
          documents: null,
        }),
      ),
  };
}

/** Functions under names that no template can spell. */
const STRIPS = Object.fromEntries(
  (['strip', 'lstrip', 'rstrip'] as const).map((method) => [
    `(${method})`,
    (text: unknown, characters: unknown) => {
      if (typeof text !== 'string' || typeof characters !== 'string') {
        throw new Error(`${method} takes a text and characters`);
      }
      const kept = [...text];
      while (method !== 'rstrip' && kept.length && characters.includes(kept[0])) kept.shift();
      while (method !== 'lstrip' && kept.length && characters.includes(kept.at(-1) as string)) {
        kept.pop();
      }
      return kept.join('');
    },
  ]),
);

/**
 * Makes `text.strip(characters)` and its sisters take those characters, as Python does. The library
 * leaves its argument out and takes all blanks; templates of Qwen3 ask for line breaks alone.
 */
function stripWhatIsAsked(node: unknown): void {
  if (typeof node !== 'object' || node === null) return;
  for (const branch of Object.values(node)) {
    if (Array.isArray(branch)) branch.forEach(stripWhatIsAsked);
    else stripWhatIsAsked(branch);
  }
  const call = node as {
    type?: string;
    callee?: { type?: string; object?: unknown; property?: { value?: string } };
    args?: unknown[];
  };
  const name = `(${call.callee?.property?.value})`;
  const isMethod = call.type === 'CallExpression' && call.callee?.type === 'MemberExpression';
  if (!isMethod || !Object.hasOwn(STRIPS, name) || call.args?.length !== 1) return;
  call.args = [call.callee?.object, ...call.args];
  call.callee = { type: 'Identifier', value: name } as typeof call.callee;
}
