import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Sample } from '../../../src/data/index.ts';
import {
  type LmWording,
  lossTokens,
  surveyTokens,
  type Wording,
  wordSample,
} from '../../../src/device/index.ts';
import { type ChatTemplate, chatTemplate } from '../../../src/model/index.ts';
import { toyTokenizer } from '../../support/toy-tokenizer.ts';

const LM: LmWording = { shape: 'prompt', chat: false, maskPrompt: true };
const END = toyTokenizer.token(toyTokenizer.eosTokenId as number) as string;

const wording = (lm: Partial<LmWording> = {}, maxSeqLength = 100): Wording => ({
  ...{ template: '{text}=', labels: [], maxSeqLength },
  lm: { ...LM, ...lm },
});

/** The row as text, a line below it `^` under every token that is in the loss. */
function marked(sample: Partial<Sample>, words: Wording, template?: ChatTemplate): string[] {
  const whole = { text: '', label: '', ...sample };
  const { ids, loss = [] } = wordSample(toyTokenizer, whole, words, template);
  assert.equal(ids.length, loss.length);
  const text = toyTokenizer
    .decode([...ids])
    .replaceAll('\n', '/')
    .replaceAll(END, '$');
  return [
    text,
    loss
      .map((learnt) => (learnt ? '^' : ' '))
      .join('')
      .trimEnd(),
  ];
}

/** Every turn as <r:content>, the assistant's next one begun by <a:. */
const CHAT = chatTemplate(
  '{% for m in messages %}<{{ m.role[0] }}:{{ m.content }}>{% endfor %}{% if add_generation_prompt %}<a:{% endif %}',
  'test',
  {},
);

describe('a row of a language model', () => {
  it('learns a completion and its end, and of a text everything', () => {
    const row = { text: '2+2', label: '4' };
    assert.deepEqual(marked(row, wording()), ['2+2=4$', '    ^^']);
    assert.deepEqual(marked(row, wording({ maskPrompt: false })), ['2+2=4$', '^^^^^^']);
    assert.deepEqual(marked({ text: 'abc' }, wording({ shape: 'text' })), ['abc$', '^^^^']);
  });

  it('in a conversation learns what the assistant says', () => {
    const messages = [
      { role: 'system', content: 'x' },
      { role: 'user', content: 'hi' },
      { role: 'assistant', content: 'yo' },
      { role: 'user', content: 'ok' },
      { role: 'assistant', content: 'bye' },
    ] as const;
    assert.deepEqual(marked({ messages }, wording({ shape: 'messages', chat: true }), CHAT), [
      '<s:x><u:hi><a:yo><u:ok><a:bye>',
      '              ^^^         ^^^^',
    ]);
    // A prompt and its completion are two turns.
    assert.deepEqual(marked({ text: 'hi', label: 'yo' }, wording({ chat: true }), CHAT), [
      '<u:hi><a:yo>',
      '         ^^^',
    ]);
  });

  it('learns the last turn where a template words earlier ones otherwise once others follow', () => {
    const forgetful = chatTemplate(
      '{% for m in messages %}<{% if loop.last %}{{ m.content }}{% else %}-{% endif %}>{% endfor %}{% if add_generation_prompt %}<{% endif %}',
      'test',
      {},
    );
    const asked = chatTemplate(
      '{% for m in messages %}<{% if loop.last or m.role != "assistant" %}{{ m.content }}{% else %}-{% endif %}>{% endfor %}{% if add_generation_prompt %}<{% endif %}',
      'test',
      {},
    );
    const turns = ['user', 'assistant', 'user', 'assistant'] as const;
    const messages = turns.map((role, i) => ({ role, content: `${i}` }));
    const words = wording({ shape: 'messages', chat: true });
    assert.deepEqual(marked({ messages }, words, asked), ['<0><-><2><3>', '          ^^']);
    // Of one that cannot be told apart nothing is learnt, and the row is skipped.
    assert.deepEqual(marked({ messages }, words, forgetful), ['<-><-><-><3>', '']);
  });

  it('loses its end where it is too long; one without a loss token is counted as such', () => {
    const samples = [
      { text: 'abcdef', label: 'x' },
      { text: 'a', label: 'xyz' },
      { text: 'a', label: '' },
    ];
    assert.deepEqual(marked(samples[1], wording({}, 4)), ['a=xy', '  ^^']);
    assert.deepEqual(surveyTokens(toyTokenizer, samples, wording({}, 4)), {
      ...{ samples: 3, tokens: 4 + 4 + 2, longest: 4, truncated: 2 },
      lossTokens: [0, 2, 0],
    });
  });

  it('takes a chat template where it needs one', () => {
    const words = wording({ shape: 'messages', chat: true });
    const messages = [{ role: 'assistant', content: 'x' }] as const;
    assert.throws(() => marked({ messages }, words), { code: 'E_CHAT_TEMPLATE' });
  });
});

it('a token is sent where the next one is in the loss, with that one as its label', () => {
  const rows = ['2+2', 'a'].map((text) =>
    wordSample(toyTokenizer, { text, label: 'xy' } as Sample, wording()),
  );
  const { positions, labels, counts } = lossTokens(rows);
  // 2+2=xy$ and a=xy$ end to end: from '=' to 'y' each.
  assert.deepEqual(positions, [3, 4, 5, 8, 9, 10]);
  assert.equal(toyTokenizer.decode([...labels]), `xy${END}xy${END}`);
  assert.deepEqual(counts, [3, 3]);
  // Nothing stands before a text's first token.
  const text = wordSample(
    toyTokenizer,
    { text: 'abc', label: '' } as Sample,
    wording({ shape: 'text' }),
  );
  assert.deepEqual(lossTokens([text]).positions, [0, 1, 2]);
});
