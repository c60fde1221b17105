import { setImmediate as turn } from 'node:timers/promises';
import type { DeviceEngine } from '../device/index.ts';
import { generate } from '../model/generate.ts';
import type { ChatMessage, LoadedAdapter, ModelDialogue } from '../model/index.ts';
import { monotonicMs } from '../platform/clock.ts';
import { FormatError, random, UsageError } from '../tensor/index.ts';
import type { GeneratedText, GenerateRequest } from './device-thread.ts';
import { StopStrings } from './stop-strings.ts';

/**
 * Continues a prompt, as it stands or as the user's turn of a conversation, and gives the event loop
 * a turn after every token.
 * @param emit called with pieces of text as they are complete
 * @param adapter what tunes it
 * @throws FormatError (E_CHAT_TEMPLATE) when a conversation is asked for and the model has no
 * template for one; UsageError for a prompt that leaves no room in the context
 */
export async function generateText(
  engine: DeviceEngine,
  dialogue: ModelDialogue,
  request: GenerateRequest,
  emit: (text: string) => void,
  adapter?: LoadedAdapter,
): Promise<GeneratedText> {
  const { backbone, tokenizer } = engine;
  if (backbone.family === 'encoder') {
    throw new UsageError(
      `generate: ${backbone.config.modelType} is an encoder: it reads whole texts and generates none; use a decoder`,
    );
  }
  // A template spells the begin token out itself.
  const ids = request.chat
    ? (tokenizer.encodePlain ?? tokenizer.encode)(conversation(dialogue, request))
    : tokenizer.encode(request.prompt);
  const { maxPositionEmbeddings } = backbone.config;
  const past = engine.promptPrefix;
  if ((past?.length ?? 0) + ids.length >= maxPositionEmbeddings) {
    throw new UsageError(
      `--prompt: its ${ids.length} tokens${past ? ` behind ${past.length} of examples` : ''} fill the model's context of ${maxPositionEmbeddings}; use a shorter one`,
    );
  }
  const stream = tokenizer.decodeStream();
  const startMs = monotonicMs();
  let promptMs = 0;
  let tokens = 0;
  const options = {
    ...request,
    stopTokens: dialogue.stopTokenIds,
    random: random(request.seed),
    tuner: adapter && engine.tuner(adapter),
    past,
  };
  const stops = new StopStrings(request.stop ?? []);
  const show = (text: string) => {
    const shown = stops.push(text);
    if (shown) emit(shown);
  };
  for (const id of generate(backbone, ids, options)) {
    if (tokens++ === 0) promptMs = monotonicMs() - startMs;
    show(stream.push(id));
    if (stops.found) break;
    await turn();
  }
  show(stream.flush());
  const rest = stops.flush();
  if (rest) emit(rest);
  return { tokens, promptTokens: ids.length, promptMs, totalMs: monotonicMs() - startMs };
}

/** The prompt as the user's turn, in the model's own words. */
function conversation(
  { chatTemplate }: ModelDialogue,
  { prompt, system }: GenerateRequest,
): string {
  if (!chatTemplate) {
    throw new FormatError(
      '--chat: the model has no chat template; leave --chat out, or put a chat_template.jinja into its folder',
      'E_CHAT_TEMPLATE',
    );
  }
  const messages: ChatMessage[] = [{ role: 'user', content: prompt }];
  if (system !== undefined) messages.unshift({ role: 'system', content: system });
  return chatTemplate.render(messages, true);
}
