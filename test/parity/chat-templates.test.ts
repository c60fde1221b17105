import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openModelPath } from '../../src/cli/model-files.ts';
import { tinyFolder, tinyFolders } from '../support/tiny-models.ts';

const withChats = tinyFolders().filter(({ reference }) => reference.chats);

async function dialogue(path: string) {
  const { model, close } = await openModelPath(path);
  await close();
  return model.dialogue;
}

describe('chat templates against transformers', () => {
  for (const { name, path, reference } of withChats) {
    it(`${name}: the same text`, async () => {
      const { chatTemplate } = await dialogue(path);
      for (const { messages, addGenerationPrompt, text } of reference.chats ?? []) {
        assert.equal(chatTemplate?.render(messages, addGenerationPrompt), text);
      }
    });
  }

  it('come from tokenizer_config.json, named or not, and from chat_template.jinja', () => {
    assert.deepEqual(
      withChats.map(({ name }) => name),
      ['llama', 'qwen2-sharded', 'qwen3'],
    );
  });

  it('are left out where a model has none', async () => {
    const { chatTemplate, stopTokenIds } = await dialogue(tinyFolder('gpt2').path);
    assert.equal(chatTemplate, undefined);
    assert.deepEqual(stopTokenIds, [0]);
  });

  it('that refuse a message say so in one line', async () => {
    const { chatTemplate } = await dialogue(tinyFolder('llama').path);
    const odd = [{ role: 'tool', content: 'x' }] as never;
    assert.throws(() => chatTemplate?.render(odd, true), {
      code: 'E_CHAT_TEMPLATE',
      message: /llama: its chat template: Unknown role tool$/,
    });
  });
});
