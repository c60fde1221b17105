import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { demoJob, demoTemplates } from '../../../../src/cli/commands/demo.ts';

describe('demoJob', () => {
  const flags = { data: 'sentiment', model: 'minilm' } as const;

  it("asks a decoder for the class in the task's words", () => {
    assert.deepEqual(demoJob({ ...flags, model: 'a.gguf', json: true }, 'decoder'), [
      ...['--adapter-path', 'adapters/sentiment', '--model', 'a.gguf'],
      ...['--template', demoTemplates.sentiment, '--json'],
    ]);
  });

  it('leaves an encoder the bare text', () => {
    assert.deepEqual(demoJob({ ...flags, adapterPath: 'out' }, 'encoder'), [
      ...['--adapter-path', 'out', '--model', 'minilm'],
    ]);
  });
});
