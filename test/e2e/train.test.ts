import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import { parseAdapterConfig } from '../../src/model/adapter.ts';
import { covered, type Interval, overlap } from '../../src/trace/index.ts';
import { runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';
import { tinyModel } from '../support/tiny-model.ts';

/*
 * The main job from end to end, as a person runs it: a server process, a device process that trains
 * over a socket, then evaluation on the device alone, with the server gone.
 */

const space = workspace();
const adapter = space.path('adapters', 'first');
const traceFile = space.path('trace.json');
let report: TrainReport;
let serverLog: string;

before(async () => {
  const server = await startServer(['--token', 'secret']);
  const done = await runCli([
    ...['train', '--server', server.url, '--token', 'secret', '--model', space.model],
    ...['--data', space.tiny, '--adapter-path', adapter, '--trace', traceFile, '--json'],
    ...SMALL_JOB,
  ]);
  const stopped = await server.stop('SIGINT');
  assert.equal(done.code, 0, done.stderr);
  assert.equal(done.stderr, '', '--json is silent beside its object');
  assert.equal(stopped.code, 0, 'Ctrl-C is the normal end of a server');
  report = JSON.parse(done.stdout) as TrainReport;
  serverLog = stopped.stderr;
});

after(() => space.remove());

test('the report is one object with everything that was promised', () => {
  assert.equal(report.model, space.model);
  assert.equal(report.data, space.tiny);
  assert.equal(report.method, 'parallel');
  assert.deepEqual(report.rows, { train: 54, valid: 6, test: 30 });
  const { majority, probe, mix, side } = report.accuracy;
  assert.ok(Math.abs((majority ?? 0) - 1 / 3) < 1e-9);
  for (const accuracy of [probe, mix, side]) {
    assert.ok(accuracy !== null && accuracy > 0.6 && accuracy <= 1, `learned nothing: ${accuracy}`);
  }
  const { wall, device, server, hidden } = report.seconds;
  assert.ok(device > 0 && server > 0 && wall > device && hidden <= server);
  // 60 samples of 3 layers, 2 kinds, 64 values at 4 bits, with an f16 scale for each 64.
  const activations = 60 * 3 * 2 * (64 / 2 + 2);
  assert.ok(report.bytes.up > activations && report.bytes.up < 2 * activations);
  assert.ok(report.bytes.down > 0);
  assert.ok(report.memory.devicePeakRss > report.memory.accounted);
  assert.ok(report.memory.accounted > 0);
  assert.match(report.kernels, /gemm/);
  assert.match(report.serverBackend, /wasm/);
  assert.equal(report.adapterPath, adapter);
  assert.equal(report.tokens.truncatedSamples, 0);
});

test('the server tells what it did, a JSON object a line, and nothing of the secret', () => {
  const lines = serverLog.trim().split('\n');
  const messages = lines.map((line) => JSON.parse(line).msg);
  assert.deepEqual(messages, [
    'listening',
    // Why none trains that --backend auto would rather have.
    'auto: this runtime has neither WebGPU (the package webgpu is not installed) nor WebGL 2',
    ...['device connected', 'job accepted', 'job trained'],
    ...['device left', 'stopping'],
  ]);
  assert.ok(!serverLog.includes('secret'));
});

test('the adapter folder says what it is and to which model it belongs', () => {
  const files = readdirSync(adapter).sort();
  assert.deepEqual(files, [
    ...[
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'baselines',
      'config.yaml',
    ],
  ]);
  const config = parseAdapterConfig(
    JSON.parse(readFileSync(join(adapter, 'adapter_config.json'), 'utf8')),
    'adapter_config.json',
  );
  assert.equal(config.peft_type, 'MOBILLM_SIDE');
  assert.equal(config.format_version, 2);
  const sha256 = createHash('sha256').update(readFileSync(space.model)).digest('hex');
  assert.equal(config.base_model.sha256, sha256);
  assert.deepEqual(config.codec, { bits: 4, group_size: 64 });
  assert.deepEqual(config.labels, ['high', 'low', 'middle']);
  assert.equal(config.metrics.test_accuracy, report.accuracy.side);
  const card = readFileSync(join(adapter, 'README.md'), 'utf8');
  assert.match(card, new RegExp(sha256.slice(0, 12)));
  assert.deepEqual(readdirSync(join(adapter, 'baselines')).sort(), ['mix', 'probe']);
});

test('eval, alone, gives the accuracy of the report, for the adapter and its baselines', async () => {
  const evaluate = (folder: string) =>
    runCli(['eval', '--data', space.tiny, '--adapter-path', folder, '--json']);
  const [side, probe] = await Promise.all([
    evaluate(adapter),
    evaluate(join(adapter, 'baselines', 'probe')),
  ]);
  assert.equal(side.code, 0, side.stderr);
  assert.equal(JSON.parse(side.stdout).accuracy, report.accuracy.side);
  assert.equal(JSON.parse(probe.stdout).accuracy, report.accuracy.probe);
});

test('predict, alone, gives the same classes, a line a text', async () => {
  const rows = readFileSync(join(space.tiny, 'test.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { text: string; label: string });
  // Half of them plain, half as objects; blank lines are let pass.
  const stdin = rows.map(({ text }, i) => (i % 2 ? text : `\n${JSON.stringify({ text })}`));
  const [{ stdout, stderr, code }, one] = await Promise.all([
    runCli(['predict', '--adapter-path', adapter, '--json'], { stdin: stdin.join('\n') }),
    runCli(['predict', '--adapter-path', adapter, '--text', rows[0].text]),
  ]);
  assert.equal(code, 0, stderr);
  const predicted = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    predicted.map(({ text }) => text),
    rows.map(({ text }) => text),
  );
  const correct = predicted.filter(({ label }, i) => label === rows[i].label).length;
  assert.equal(correct / rows.length, report.accuracy.side);
  const [label, probability, text] = one.stdout.trim().split('\t');
  assert.equal(label, predicted[0].label);
  assert.equal(probability, predicted[0].probability.toFixed(3));
  assert.equal(text, rows[0].text);
});

test('another model than the one trained on is refused', async () => {
  const other = space.path('other.gguf');
  writeFileSync(other, tinyModel({ seed: 2 }));
  const result = await runCli([
    ...['eval', '--data', space.tiny, '--adapter-path', adapter, '--model', other],
  ]);
  assert.equal(result.code, 4);
  assert.match(result.stderr, /^error \[E_MODEL_MISMATCH\]: --model: [^\n]+\n$/);
});

/** An event of Chrome's trace format, as far as it is read here. */
interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly cat?: string;
  readonly pid: number;
  readonly ts: number;
  readonly dur: number;
  readonly args?: Record<string, unknown>;
}

/** The trace holds whole microseconds: an end moves by one at most, over some hundred spans. */
const ROUNDING_SECONDS = 1e-3;

test('the trace shows both processes on one clock, and overlap', () => {
  const trace = JSON.parse(readFileSync(traceFile, 'utf8')) as { traceEvents: TraceEvent[] };
  const names = new Map<unknown, number>();
  for (const { ph, name, pid, args } of trace.traceEvents) {
    if (ph === 'M' && name === 'process_name') names.set(args?.name, pid);
  }
  const spans = (category: string, process: string): Interval[] =>
    trace.traceEvents
      .filter(({ ph, cat, pid }) => ph === 'X' && cat === category && pid === names.get(process))
      .map(({ ts, dur }) => [ts, ts + dur]);
  const compute = spans('compute', 'device');
  const steps = spans('step', 'server');
  // 54 + 6 + 30 rows in batches of 8; 4 epochs of 7 steps and an evaluation, three models.
  assert.equal(compute.length, 7 + 1 + 4);
  assert.ok(steps.length >= 3 * 4 * (7 + 1));
  assert.equal(spans('transfer', 'device').length, 7 + 1);
  assert.equal(spans('transfer', 'server').length, 7 + 1);
  // One clock: no step can come before the first batch was computed.
  assert.ok(
    Math.min(...steps.map(([start]) => start)) > Math.min(...compute.map(([, end]) => end)),
  );
  const close = (microseconds: number, seconds: number, what: string) =>
    assert.ok(Math.abs(microseconds / 1e6 - seconds) < ROUNDING_SECONDS, what);
  close(covered(compute), report.seconds.device, 'device seconds');
  close(covered(steps), report.seconds.server, 'server seconds');
  close(overlap(compute, steps), report.seconds.hidden, 'hidden seconds');
  assert.ok(overlap(compute, steps) > 0, 'the device computes while the server trains');
});
