import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { assertFails, runCli, workspace } from '../support/cli.ts';
import { writeGguf } from '../support/gguf-writer.ts';

const space = workspace();
after(() => space.remove());

test('inspect --json describes a model that runs', async () => {
  const { code, stdout, stderr } = await runCli(['inspect', space.model, '--json']);
  assert.deepEqual([code, stderr], [0, '']);
  const summary = JSON.parse(stdout);
  assert.equal(summary.file, space.model);
  assert.equal(summary.bytes, statSync(space.model).size);
  assert.equal(summary.architecture, 'llama');
  assert.deepEqual(summary.runs, { supported: true, reasons: [] });
  assert.deepEqual(Object.keys(summary.weightBytes), ['int8', 'int4', 'f32']);
  assert.equal(summary.tensorCount, 29);
  assert.equal(summary.tensors, undefined);
  const listed = JSON.parse((await runCli(['inspect', space.model, '--json', '--tensors'])).stdout);
  assert.equal(listed.tensors.length, 29);
});

test('inspect --plan tells what training takes, more of a language model, and what --labels has no meaning for', async () => {
  const plan = (...flags: string[]) =>
    runCli(['inspect', space.model, '--plan', '--batch-size', '2', ...flags]);
  const [classes, server, device, wrong] = await Promise.all([
    plan('--json'),
    plan('--json', '--task', 'lm'),
    plan('--task', 'lm', '--labels', 'device'),
    plan('--labels', 'device'),
  ]);
  const [one, two] = [classes, server].map(({ stdout }) => JSON.parse(stdout));
  assert.equal(two.memory.runtime, one.memory.runtime);
  assert.ok(two.memory.buffers > one.memory.buffers, `${classes.stdout} ${server.stdout}`);
  assert.match(
    device.stdout,
    /2 samples of 256 tokens of a language model, --labels device: about/,
  );
  assertFails(wrong, 2, /--labels: only a language model's output head is frozen/);
});

test('inspect says in words why a file does not run, and keeps its text out of the terminal', async () => {
  const file = space.path('other.gguf');
  const template = `first\nsecond \u001b[31m${'x'.repeat(5000)}`;
  writeFileSync(
    file,
    writeGguf({
      metadata: [
        ['general.architecture', { type: 'string', value: 'mamba' }],
        ['tokenizer.chat_template', { type: 'string', value: template }],
      ],
      tensors: [{ name: 'a\u001b[2J', dims: [2], type: 0, data: new Uint8Array(8) }],
    }),
  );
  const { code, stdout } = await runCli(['inspect', file, '--tensors']);
  assert.equal(code, 0);
  assert.match(stdout, /gguf version 3/);
  assert.match(stdout, /runs here: no \[E_MODEL_ARCHITECTURE\]: .*architecture "mamba"/);
  assert.match(stdout, /chat_template = first\\nsecond \\u\{1b\}\[31mx+\.\.\.\n/);
  assert.match(stdout, /a\\u\{1b\}\[2J .* F32 .* \[2\] /);
  assert.ok(!stdout.includes('\u001b'));
  assert.ok(Math.max(...stdout.split('\n').map((line) => line.length)) < 250);
});

test('inspect fails in one line over what is no model file', async () => {
  const { code, stderr } = await runCli(['inspect', `${space.tiny}/train.jsonl`]);
  assert.equal(code, 4);
  assert.match(stderr, /^error \[E_GGUF_MAGIC\]: [^\n]*\n$/);
  const missing = await runCli(['inspect', space.path('none.gguf')]);
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /^error \[E_NOT_FOUND\]/);
});
