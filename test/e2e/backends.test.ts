import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import type { TrainReport } from '../../src/cli/report.ts';
import { assertFails, runCli, SMALL_JOB, startServer, workspace } from '../support/cli.ts';

/* What trains on the server is the operator's choice; what comes of it is not. */

const space = workspace();
after(() => space.remove());

/**
 * Parameters after some thirty steps of AdamW at 1e-3 or so, which moves each by about the learning
 * rate whatever the size of its gradient: f32 sums in another order decide the sign where the
 * gradient is next to nothing.
 */
const SAME_ADAPTER = 2e-3;

async function trainOn(name: string, ...serve: readonly string[]) {
  return trainWith([], name, ...serve);
}

async function trainWith(train: readonly string[], name: string, ...serve: readonly string[]) {
  const server = await startServer(serve);
  const { code, stdout, stderr } = await runCli([
    ...['train', '--server', server.url, '--model', space.model, '--data', space.tiny],
    ...['--adapter-path', space.path(name), '--no-baselines', '--json', ...SMALL_JOB, ...train],
  ]);
  assert.equal(code, 0, stderr);
  const { stderr: log } = await server.stop();
  const weights = readFileSync(space.path(name, 'adapter_model.safetensors'));
  return { report: JSON.parse(stdout) as TrainReport, weights: floatsOf(weights), log };
}

/** All numbers behind the header of a safetensors file, in the file's order. */
function floatsOf(file: Buffer): Float32Array {
  const start = 8 + Number(file.readBigUInt64LE());
  return new Float32Array(
    file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length),
  );
}

test('every backend gives the same adapter, and the report says which one ran', async () => {
  const [cpu, wasm, gpu] = await Promise.all([
    trainOn('cpu', '--backend', 'cpu'),
    trainOn('auto'),
    trainOn('gpu', '--backend', 'gpu:webasm', '--require-backend'),
  ]);
  assert.equal(cpu.report.serverBackend, 'cpu (reference)');
  assert.match(wasm.report.serverBackend, /^wasm \((relaxed|simd128)\)$/);
  assert.equal(gpu.report.serverBackend, 'gpu:webasm (gpu.js)');
  for (const { weights, report } of [wasm, gpu]) {
    assert.equal(weights.length, cpu.weights.length);
    const off = weights.map((value, i) => Math.abs(value - cpu.weights[i]));
    const worst = off.reduce((a, b) => Math.max(a, b));
    assert.ok(worst < SAME_ADAPTER, `${report.serverBackend} is off by ${worst}`);
    assert.equal(report.accuracy.side, cpu.report.accuracy.side);
  }
});

test('threads change no bit of an adapter, and the report says how many there were', async () => {
  const one = await trainWith(['--threads', '1'], 'one');
  const many = await trainWith(['--threads', '3'], 'many', '--threads', '2');
  assert.match(one.report.deviceBackend, /^wasm \(\w+\)$/);
  assert.match(many.report.deviceBackend, /^wasm \(\w+, 3 threads\)$/);
  assert.match(many.report.serverBackend, /^wasm \(\w+, 2 threads\)$/);
  assert.deepEqual(many.weights, one.weights);
});

test('a backend that does not run here is said to be replaced, or refused', async () => {
  const { report, log } = await trainOn('instead', '--backend', 'gpu:webgl2');
  const expected = /^wasm \(.*\) instead of gpu:webgl2: webgl2: there is no WebGL 2$/;
  assert.match(report.serverBackend, expected);
  assert.match(log, /"level":40,[^\n]*there is no WebGL 2/);
  for (const name of ['gpu:webgl2', 'gpu', 'auto']) {
    const serve = ['serve', '--port', '0', '--backend', name, '--require-backend'];
    assertFails(await runCli(serve), 1, /--require-backend: .*(WebGL|WebGPU)/);
  }
});

test('gpu takes the best mode of gpu.js, and names those that it could not have', async () => {
  const { report } = await trainOn('best', '--backend', 'gpu');
  assert.match(
    report.serverBackend,
    /^gpu:webasm \(gpu\.js\); webgpu: no WebGPU adapter answers; webgl2: there is no WebGL 2$/,
  );
});
