import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import type { LabelExchange } from '../../src/device/index.ts';
import { random } from '../../src/tensor/index.ts';
import { BrokenJobs } from '../support/broken-jobs.ts';
import { assertFails, type CliServer, runCli, startServer, workspace } from '../support/cli.ts';

/*
 * A language model's tuning from end to end: rows, a server process, a device process, and the tuned
 * model used on the device alone.
 */

const space = workspace();

/** What a random model cannot know: a word, and the same word doubled. */
const words = (count: number, seed: number) => {
  const rng = random(seed);
  return Array.from({ length: count }, () => {
    const word = Array.from({ length: 2 }, () => 'abc'[rng.int(3)]).join('');
    return { prompt: `say ${word}`, completion: `${word} and ${word} again` };
  });
};
const data = space.data('words', { train: words(60, 1), valid: words(10, 2), test: words(12, 3) });
const FLAGS = ['--batch-size', '8', '--epochs', '6', '--rank', '16', '--layers', 'all'];
const adapter = space.path('adapter');
let server: CliServer;
let report: TrainReport;

const trainArgs = (name: string, ...flags: string[]) => [
  ...['train', '--server', server.url, '--model', space.model, '--data', data, '--json'],
  ...['--adapter-path', space.path(name), '--learning-rate', '1e-2', ...FLAGS, ...flags],
];

before(async () => {
  server = await startServer(['--state-dir', space.path('jobs')]);
  const trained = await runCli(trainArgs('adapter'));
  assert.equal(trained.code, 0, trained.stderr);
  report = JSON.parse(trained.stdout);
});
after(async () => {
  await server.stop();
  space.remove();
});

test('perplexity falls below the frozen model from which it starts', () => {
  assert.equal(report.task, 'lm');
  const [model] = report.server.models;
  const { startLoss = Number.NaN, validLoss } = model;
  assert.ok(validLoss < 0.7 * startLoss, `${startLoss} to ${validLoss}`);
  const test = report.test.parallel;
  assert.ok('perplexity' in test);
  assert.ok(test.perplexity < 0.5 * test.basePerplexity);
  // The server saw the validation rows in 4 bits, the device others as they are.
  const base = Math.log(test.basePerplexity);
  assert.ok(Math.abs(base / startLoss - 1) < 0.1, `${base} on the device, ${startLoss} there`);
});

test('eval gives the figures of the report; generate says what was learnt', async () => {
  const config = JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8'));
  assert.equal(config.task_type, 'CAUSAL_LM');
  const [evaluated, tuned, frozen] = await Promise.all([
    runCli(['eval', '--data', data, '--adapter-path', adapter, '--json']),
    runCli(['generate', '--adapter-path', adapter, '-p', 'say ab', '-n', '30', '--json']),
    runCli(['generate', '--model', space.model, '-p', 'say ab\n', '-n', '30', '--json']),
  ]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  const { rows, tokens, perplexity, basePerplexity } = JSON.parse(evaluated.stdout);
  assert.deepEqual({ rows, tokens, perplexity, basePerplexity }, report.test.parallel);
  assert.equal(tuned.code, 0, tuned.stderr);
  const [said, unsaid] = [tuned, frozen].map(({ stdout }) => JSON.parse(stdout).text as string);
  assert.match(said, /and|again/, JSON.stringify(said));
  assert.doesNotMatch(unsaid, /and|again/);
});

test('with examples in front an adapter carries them: eval gives the figures of its report again', async () => {
  const name = 'examples';
  const trained = await runCli(
    trainArgs(name, '--prefix-shots', '2', '--max-seq-length', '40', '--epochs', '1'),
  );
  assert.equal(trained.code, 0, trained.stderr);
  const { tokens, test: tested } = JSON.parse(trained.stdout) as TrainReport;
  assert.ok(tokens.prefix > 0);
  const folder = space.path(name);
  const config = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8'));
  assert.deepEqual(Object.keys(config.lm.shots[1]), ['text', 'label']);
  assert.match(readFileSync(join(folder, 'README.md'), 'utf8'), /examples in front \| 2 rows/);
  const answer = ['--answer-regex', 'again', '-n', '2'];
  const [evaluated, said] = await Promise.all([
    runCli(['eval', '--data', data, '--adapter-path', folder, '--json', ...answer]),
    runCli(['generate', '--adapter-path', folder, '-p', 'say ab', '-n', '5', '--json']),
  ]);
  assert.equal(evaluated.code, 0, evaluated.stderr);
  const { perplexity, basePerplexity } = JSON.parse(evaluated.stdout);
  assert.ok('perplexity' in tested.parallel);
  assert.deepEqual(
    { perplexity, basePerplexity },
    { perplexity: tested.parallel.perplexity, basePerplexity: tested.parallel.basePerplexity },
  );
  assert.equal(said.code, 0, said.stderr);
});

test('a tuned model is sampled: the same seed, the same text; it streams what it makes', async () => {
  const sample = (...flags: string[]) =>
    runCli([
      ...[
        'generate',
        '--adapter-path',
        adapter,
        '-p',
        'say ab',
        '-n',
        '20',
        '--temperature',
        '1.5',
      ],
      ...['--top-k', '40', '--top-p', '0.95', '--min-p', '0.01', ...flags],
    ]);
  const [one, two, other, shown] = await Promise.all([
    sample('--seed', '1', '--json'),
    sample('--seed', '1', '--json'),
    sample('--seed', '2', '--json'),
    sample('--seed', '1'),
  ]);
  const [a, b, c] = [one, two, other].map(({ stdout }) => JSON.parse(stdout).text as string);
  assert.equal(a, b);
  assert.notEqual(a, c);
  assert.equal(shown.stdout, `${a}\n`);
});

test('answers are compared, and stop texts end a generation', async () => {
  const [matched, stopped, refused] = await Promise.all([
    runCli([
      ...['eval', '--data', data, '--adapter-path', adapter, '--json', '-n', '20'],
      ...['--answer-regex', 'an?d'],
    ]),
    runCli(['generate', '--adapter-path', adapter, '-p', 'say ab', '--json', '--stop', 'and']),
    runCli(['predict', '--adapter-path', adapter, '--text', 'x']),
  ]);
  const { rows, base, tuned } = JSON.parse(matched.stdout).exactMatch;
  assert.equal(rows, 12);
  assert.equal(base, 0);
  assert.ok(tuned > 0);
  assert.doesNotMatch(JSON.parse(stopped.stdout).text, /and/);
  assertFails(refused, 2, /tunes a language model; mobillm generate runs it/);
});

test('a second job does not send the output head again; its adapter is the same', async () => {
  const again = await runCli(trainArgs('again'));
  assert.equal(again.code, 0, again.stderr);
  const second = JSON.parse(again.stdout) as TrainReport;
  assert.deepEqual([report.outputHead, second.outputHead], ['the device', 'an earlier job']);
  // 262 tokens of 64 values in 8 bits with an f16 scale, in its frame.
  const head = 262 * 66;
  const less = report.bytes.up - second.bytes.up;
  assert.ok(less > head && less < head + 1000, `${less}`);
  const weights = (at: string) => readFileSync(join(at, 'adapter_model.safetensors'));
  assert.deepEqual(weights(space.path('again')), weights(adapter));
});

test('a server with the model makes the output head itself; another file is refused at its start', async () => {
  const own = await startServer(['--heads', space.model]);
  try {
    const args = trainArgs('own-head').map((arg) => (arg === server.url ? own.url : arg));
    const [trained, none] = await Promise.all([
      runCli(args),
      runCli(['serve', '--port', '0', '--heads', join(data, 'train.jsonl')]),
    ]);
    assert.equal(trained.code, 0, trained.stderr);
    const { bytes, outputHead } = JSON.parse(trained.stdout) as TrainReport;
    assert.equal(outputHead, `${space.model}, int8`);
    assert.ok(report.bytes.up - bytes.up > 262 * 66);
    assert.match(
      own.process.text('stderr'),
      /"from":"[^"]*, int8","bytes":\d+,"msg":"output head"/,
    );
    const weights = (at: string) => readFileSync(join(at, 'adapter_model.safetensors'));
    assert.deepEqual(weights(space.path('own-head')), weights(adapter));
    assertFails(none, 4, /train\.jsonl/);
  } finally {
    await own.stop();
  }
});

test('with labels on the device the adapter is the same; neither they nor the head are sent', async () => {
  const rows = ['a', 'b', 'c', 'd'].map((text, i) => ({ text, label: i < 2 ? 'x' : 'y' }));
  const classes = space.data('classes', { train: [...rows, ...rows] });
  const [kept, refused, dry] = await Promise.all([
    runCli(trainArgs('kept-labels', '--labels', 'device', '--trace', space.path('trace.json'))),
    runCli([...trainArgs('x', '--labels', 'device'), '--data', classes]),
    runCli([...trainArgs('x', '--labels', 'device'), '--dry-run']),
  ]);
  assert.equal(kept.code, 0, kept.stderr);
  const second = JSON.parse(kept.stdout) as TrainReport;
  const weights = (at: string) => readFileSync(join(at, 'adapter_model.safetensors'));
  assert.deepEqual(weights(space.path('kept-labels')), weights(adapter));
  const [one, two] = [second.server.models[0], report.server.models[0]];
  assert.ok(Math.abs(one.validLoss - two.validLoss) < 1e-9);
  assert.ok(Math.abs((one.startLoss ?? 0) - (two.startLoss ?? 0)) < 1e-9);
  assert.equal(second.labels, 'device');
  assert.equal(second.outputHead, null);
  const { parts, tokens, bytes, computeMs } = second.exchange as LabelExchange;
  // Six epochs, and the validation rows once before any step.
  const { train, valid } = second.dataset;
  const [trained, validated] = [6 * (train.loss?.tokens ?? 0), 7 * (valid.loss?.tokens ?? 0)];
  assert.equal(tokens, trained + validated);
  assert.ok(parts >= 6 * 8 + 7 * 2 && computeMs > 0);
  const width = 64;
  assert.ok(bytes.down > 4 * width * tokens && bytes.down < 4.5 * width * tokens);
  assert.ok(bytes.up > 4 * width * trained && bytes.up < 4.5 * width * trained);
  const { up, exchange } = JSON.parse(dry.stdout).traffic;
  assert.ok(Math.abs(exchange.down / bytes.down - 1) < 0.05);
  assert.ok(Math.abs(exchange.up / bytes.up - 1) < 0.05);
  assert.ok(Math.abs((up.total + exchange.up) / second.bytes.up - 1) < 0.05);
  const spans = readFileSync(space.path('trace.json'), 'utf8');
  for (const name of ['head train 0', 'send gradient 0', 'parallel states 0', 'device part 0']) {
    assert.ok(spans.includes(JSON.stringify(name)), name);
  }
  assertFails(refused, 2, /--labels: only a language model's output head is frozen/);
});

test('what is learnt is shown before anything runs', async () => {
  const empty = space.data('some', {
    train: [...words(20, 1), { prompt: 'say nothing', completion: '' }],
    valid: words(3, 2),
  });
  const texts = space.data('texts', { train: words(20, 1).map(({ prompt: text }) => ({ text })) });
  const chats = space.data('chats', {
    train: words(3, 1).map(({ prompt: content }) => ({ messages: [{ role: 'user', content }] })),
  });
  const show = (folder: string, ...flags: string[]) =>
    runCli(['preprocess', folder, '--model', space.model, ...flags]);
  const [shown, dry, text, chat, encoder] = await Promise.all([
    show(empty, '--debug', '--samples', '1'),
    runCli(['train', '--dry-run', '--data', data, '--model', space.model, '--json', ...FLAGS]),
    show(texts, '--json'),
    show(chats),
    runCli(['train', '--dry-run', '--data', data, '--model', space.model, '--layers', '1,2']),
  ]);
  assert.match(shown.stdout, /prompts with completions: language model/);
  assert.match(shown.stdout, /of train: 1 have no token in the loss and are skipped/);
  assert.match(shown.stdout, /\d {2} {5}"s"\n/);
  assert.match(shown.stdout, /loss "\u{10ffff}|loss "<\|endoftext\|>"|loss "/u);
  const plan = JSON.parse(dry.stdout);
  assert.ok(Math.abs(plan.traffic.up.total / report.bytes.up - 1) < 0.1);
  assert.equal(
    plan.memory.serverCache,
    plan.dataset.train.loss.tokens * 3 * 34 + plan.dataset.valid.loss.tokens * 3 * 34,
  );
  assert.equal(JSON.parse(text.stdout).dataset.shape, 'text');
  assertFails(chat, 4, /conversations take a chat template, and the model has none/);
  assertFails(encoder, 2, /--layers: a language model is tuned at its output/);
});

test('a job whose labels are on the device goes on, too, and only so', async () => {
  const folder = space.data('resumed-labels', { train: words(90, 4), valid: words(6, 5) });
  const jobs = new BrokenJobs(space, space.path('kept-too'), folder);
  await jobs.serve();
  await jobs.run('whole-labels', '--labels', 'device');
  const first = await jobs.untilStep(5, 'broken-labels', '--labels', 'device');
  await jobs.server.stop('SIGKILL');
  jobs.assertKept('broken-labels', await first.done, 5);
  await jobs.serve();
  const other = await runCli(jobs.args('broken-labels', '--resume'));
  assertFails(
    other,
    2,
    /--resume: not the job that was begun, --labels changed: "device" then, none now/,
  );
  await jobs.run('broken-labels', '--labels', 'device', '--resume');
  assert.ok(jobs.resumedFrom >= 5);
  await jobs.assertFinished('broken-labels', jobs.files('whole-labels'));
  await jobs.server.stop();
});

test('a job goes on after both ends were killed, and gives the adapter it would have given', async () => {
  const folder = space.data('resumed', { train: words(90, 4), valid: words(6, 5) });
  const jobs = new BrokenJobs(space, space.path('kept'), folder);
  await jobs.serve();
  await jobs.run('whole');
  const first = await jobs.untilStep(5, 'broken');
  await jobs.server.stop('SIGKILL');
  jobs.assertKept('broken', await first.done, 5);
  await jobs.serve();
  await jobs.run('broken', '--resume');
  assert.ok(jobs.resumedFrom >= 5);
  await jobs.assertFinished('broken', jobs.files('whole'));
  await jobs.server.stop();
});
