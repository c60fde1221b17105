import type { Sample, Turn } from '../data/index.ts';
import { renderTemplate } from '../data/template.ts';
import type { ChatTemplate, Tokenizer } from '../model/index.ts';
import { FormatError } from '../tensor/errors.ts';
import type { TapPlan } from './tap-plan.ts';
import type { WordedSample } from './wording.ts';

/** A piece of a text, and whether its tokens are to be learnt. */
interface Piece {
  readonly text: string;
  readonly learnt: boolean;
}

/**
 * Tokens of a language model's row, and which of them are in the loss: pieces are tokenized by
 * themselves, so that a prompt has the tokens it has where it is to be continued. A text or a
 * completion that no chat template ends has the model's end token behind it. What is too long loses
 * its end.
 * @throws FormatError (E_CHAT_TEMPLATE) where a conversation cannot be worded
 */
export function wordLm(
  tokenizer: Tokenizer,
  sample: Omit<Sample, 'label'> & Partial<Pick<Sample, 'label'>>,
  plan: Pick<TapPlan, 'template' | 'maxSeqLength'> & Required<Pick<TapPlan, 'lm'>>,
  chatTemplate: ChatTemplate | undefined,
): WordedSample {
  const { template, maxSeqLength, lm } = plan;
  const { text, label = '', messages } = sample;
  const turns: readonly Turn[] | undefined = lm.chat
    ? (messages ?? [
        { role: 'user', content: text },
        { role: 'assistant', content: label },
      ])
    : undefined;
  let pieces: Piece[];
  if (turns) pieces = label === '' && !messages ? [] : chatPieces(turns, chatTemplate);
  else if (lm.shape === 'text') pieces = [{ text, learnt: true }];
  else {
    const prompt = renderTemplate(template, { text, labels: [] });
    pieces = [
      { text: prompt, learnt: false },
      { text: label, learnt: true },
    ];
  }
  const plain = tokenizer.encodePlain ?? tokenizer.encode;
  const ids: number[] = [];
  const loss: boolean[] = [];
  pieces.forEach((piece, i) => {
    // A chat template spells the begin token out itself; elsewhere it stands in front.
    const encode = i === 0 && !turns ? tokenizer.encode : plain;
    for (const id of encode.call(tokenizer, piece.text)) {
      ids.push(id);
      loss.push(piece.learnt || !lm.maskPrompt);
    }
  });
  const end = tokenizer.eosTokenId;
  const ends = !turns && pieces.at(-1)?.text !== '' && ids.length > 0;
  if (ends && end !== undefined && ids.at(-1) !== end) {
    ids.push(end);
    loss.push(true);
  }
  const truncated = ids.length > maxSeqLength;
  return {
    ids: ids.slice(0, maxSeqLength),
    loss: loss.slice(0, maxSeqLength),
    texts: pieces.map((piece) => piece.text),
    truncated,
  };
}

/**
 * A conversation in pieces: what the assistant is to say is learnt. A template that words a turn
 * otherwise once others follow it leaves the last turn alone to be learnt.
 */
function chatPieces(turns: readonly Turn[], template: ChatTemplate | undefined): Piece[] {
  const chat = template ?? noTemplate();
  const whole = chat.render(turns, false);
  const pieces: Piece[] = [];
  let at = 0;
  const add = (end: number, learnt: boolean) => {
    if (end > at) pieces.push({ text: whole.slice(at, end), learnt });
    at = end;
  };
  for (const [i, { role }] of turns.entries()) {
    if (role !== 'assistant') continue;
    const asked = chat.render(turns.slice(0, i), true);
    const said = chat.render(turns.slice(0, i + 1), false);
    if (!whole.startsWith(said) || !said.startsWith(asked) || asked.length < at) continue;
    add(asked.length, false);
    add(said.length, true);
  }
  add(whole.length, false);
  return pieces;
}

function noTemplate(): never {
  throw new FormatError(
    'data: conversations take a chat template, and the model has none; put a chat_template.jinja into its folder, or use prompt and completion',
    'E_CHAT_TEMPLATE',
  );
}

/** Which tokens send their hidden states, and what follows them. */
export interface LossTokens {
  /** Of all tokens of the batch, end to end. */
  readonly positions: readonly number[];
  /** Each one's next token. */
  readonly labels: readonly number[];
  /** Of every sample, how many. */
  readonly counts: readonly number[];
}

/** The tokens of worded samples whose next token is in the loss. */
export function lossTokens(rows: readonly WordedSample[]): LossTokens {
  const positions: number[] = [];
  const labels: number[] = [];
  let start = 0;
  const counts = rows.map(({ ids, loss = [] }) => {
    const before = positions.length;
    for (let t = 1; t < ids.length; t++) {
      if (!loss[t]) continue;
      positions.push(start + t - 1);
      labels.push(ids[t]);
    }
    start += ids.length;
    return positions.length - before;
  });
  return { positions, labels, counts };
}
