import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ChatMessage, chatTemplate } from '../../../src/model/index.ts';

const user = (content: string): ChatMessage[] => [{ role: 'user', content }];
const render = (source: string, content = '', generation = false) =>
  chatTemplate(source, 'm', { bos_token: '<s>' }).render(user(content), generation);

describe('chatTemplate', () => {
  it('knows the messages, special tokens and whether a turn is wanted', () => {
    assert.equal(
      render("{{ bos_token }}{{ messages[0]['role'] }}{% if add_generation_prompt %}!{% endif %}"),
      '<s>user',
    );
    assert.equal(render('{% if add_generation_prompt %}!{% endif %}', '', true), '!');
    assert.equal(render('{{ tools is none }}{{ unk_token is defined }}'), 'truefalse');
  });

  it('strips the characters that are asked for, as Python does', () => {
    const text = '\n  ab \n\n';
    const strip = (call: string) => render(`{{- '[' + messages[0].content.${call} + ']' -}}`, text);
    assert.equal(strip("strip('\\n')"), '[  ab ]');
    assert.equal(strip("lstrip('\\n')"), '[  ab \n\n]');
    assert.equal(strip("rstrip('\\n ')"), '[\n  ab]');
    assert.equal(strip('strip()'), '[ab]');
    assert.equal(strip("strip('xyz')"), `[${text}]`);
    assert.equal(strip("strip('\\n').strip(' ')"), '[ab]');
    assert.equal(render("{% if 'xax'.strip('x') == 'a' %}{{ '-b-'.strip('-') }}{% endif %}"), 'b');
  });

  it('says in one line what is wrong', () => {
    const refused: [string, RegExp][] = [
      ['{% if %}', /^m: its chat template: [^\n]+$/],
      ['{% for x in messages %}', /^m: its chat template: /],
      ["{{ raise_exception('roles\nmust alternate') }}", /: roles must alternate$/],
      ['{{ nothing() }}', /^m: its chat template: /],
      ['{{ messages[0].content.strip(1) }}', /strip takes a text and characters/],
    ];
    for (const [source, message] of refused) {
      assert.throws(() => render(source), { code: 'E_CHAT_TEMPLATE', message });
    }
  });
});
