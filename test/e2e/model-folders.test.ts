import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';
import { jsonLines, tinyRows } from '../support/tiny-model.ts';
import { tinyFolder } from '../support/tiny-models.ts';

/* Models in Hugging Face's layout, through the commands that take them. */

const space = workspace();
after(() => space.remove());

/** A copy of a fixture's folder, for a test to break. */
function copyOf(name: string, as: string): string {
  const path = space.path(as);
  cpSync(tinyFolder(name).path, path, { recursive: true });
  return path;
}

test('inspect describes a folder of shards that runs', async () => {
  const { path } = tinyFolder('qwen2-sharded');
  const { code, stdout } = await runCli(['inspect', path, '--json']);
  assert.equal(code, 0);
  const summary = JSON.parse(stdout);
  assert.equal(summary.format, 'folder');
  assert.equal(summary.architecture, 'qwen2');
  assert.deepEqual(summary.runs, { supported: true, reasons: [] });
  assert.deepEqual(summary.model, {
    family: 'decoder',
    layers: 2,
    hiddenSize: 32,
    vocabSize: 320,
    contextLength: 96,
    cacheBytesPerToken: 2 * 4 * 2 * 2 * 8,
  });
  assert.equal(summary.chatTemplate, true);
  assert.equal(summary.weightBytes.f32, 4 * summary.parameters);
  assert.equal(summary.metadata.sliding_window, null);
});

test('inspect gives every reason why a folder does not run', async () => {
  const path = copyOf('opt', 'broken');
  const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8'));
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, enable_bias: false }));
  rmSync(join(path, 'tokenizer.json'));
  const { code, stdout } = await runCli(['inspect', path]);
  assert.equal(code, 0);
  assert.match(stdout, /runs here: no \[E_MODEL_ARCHITECTURE\]: .*enable_bias false is not/);
  assert.match(stdout, /runs here: no \[E_TOKENIZER\]: .*has no tokenizer\.json; in Python/);
});

test('a folder without a tokenizer, a shard or a configuration fails in one line', async () => {
  const cases = [
    [
      'gpt2',
      'tokenizer.json',
      4,
      /^error \[E_TOKENIZER\]: [^\n]*it has no tokenizer\.json[^\n]*\n$/,
    ],
    [
      'qwen2-sharded',
      'model-00002-of-00003.safetensors',
      4,
      /\[E_MODEL\]: .*its shard model-00002/,
    ],
    ['qwen3', 'config.json', 2, /^error \[E_NOT_FOUND\]: [^\n]*it has no config\.json[^\n]*\n$/],
    ['llama', 'model.safetensors', 4, /\[E_MODEL\]: .*neither model\.safetensors nor/],
  ] as const;
  await Promise.all(
    cases.map(async ([name, file, expected, message]) => {
      const path = copyOf(name, `without-${name}`);
      rmSync(join(path, file));
      const { code, stderr } = await runCli(['generate', '--model', path, '-p', 'a', '--json']);
      assert.equal(code, expected, stderr);
      assert.match(stderr, message);
    }),
  );
});

test("generate --chat words the prompt by the model's template", async () => {
  const { path, reference } = tinyFolder('llama');
  const [user] = reference.chats?.[0].messages ?? [];
  const flags = ['--json', '--max-tokens', '3', '--precision', 'f32'];
  const chat = await runCli([
    ...['generate', '--model', path, '--chat', '--prompt', user.content, ...flags],
  ]);
  const spelled = await runCli([
    ...['generate', '--model', path, ...flags],
    // The begin token leads by itself where there is no template.
    ...['--prompt', (reference.chats?.[0].text ?? '').replace('<|begin_of_text|>', '')],
  ]);
  assert.equal(chat.code, 0, chat.stderr);
  const [a, b] = [JSON.parse(chat.stdout), JSON.parse(spelled.stdout)];
  assert.deepEqual([a.promptTokens, a.text], [b.promptTokens, b.text]);
});

test('generate --chat says what to do where there is no template', async () => {
  const { path } = tinyFolder('gpt2');
  const none = await runCli(['generate', '--model', path, '--chat', '-p', 'a', '--json']);
  assert.equal(none.code, 4);
  assert.match(none.stderr, /^error \[E_CHAT_TEMPLATE\]: --chat: [^\n]*leave --chat out[^\n]*\n$/);
  const alone = await runCli(['generate', '--model', path, '--system', 's', '-p', 'a']);
  assert.equal(alone.code, 2);
  assert.match(alone.stderr, /--system: .*give --chat/);
});

test('a job on a folder: texts beyond the context, batches of one', async () => {
  const rows = tinyRows(18);
  const long = { ...rows[1], text: 'a text beyond the context '.repeat(40) };
  const data = space.data('odd-folder', {
    train: jsonLines([...rows.slice(0, 12), long]),
    valid: jsonLines(rows.slice(12, 15)),
    test: jsonLines([...rows.slice(15), long]),
  });
  const server = await startServer();
  const done = await runCli([
    ...['train', '--server', server.url, '--model', tinyFolder('opt').path, '--data', data],
    ...['--adapter-path', space.path('on-opt'), '--no-baselines', '--json', ...SMALL_JOB],
    ...['--batch-size', '1', '--max-seq-length', '96', '--template', '{text}'],
  ]);
  await server.stop();
  assert.equal(done.code, 0, done.stderr);
  assert.equal(JSON.parse(done.stdout).tokens.truncatedSamples, 2);
});

test('--max-seq-length beyond the context fails before the server is asked', async () => {
  const { code, stderr } = await runCli([
    ...['train', '--server', 'ws://127.0.0.1:1', '--model', tinyFolder('opt').path],
    ...['--data', space.tiny, '--adapter-path', space.path('none'), '--max-seq-length', '97'],
  ]);
  assert.equal(code, 2, stderr);
  assert.match(
    stderr,
    /^error \[E_USAGE\]: --max-seq-length: 97 tokens exceed .* use 96 or fewer\n$/,
  );
});
