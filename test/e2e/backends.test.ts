import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { assertFails, runCli, workspace } from '../support/cli.ts';
import { furthestWeight, SAME_ADAPTER, trainOnServer } from '../support/server-jobs.ts';

/* What trains on the server is the operator's choice; what comes of it is not. */

const space = workspace();
after(() => space.remove());

const trainOn = (name: string, ...serve: readonly string[]) =>
  trainOnServer(space, name, { serve });

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
    const worst = furthestWeight(weights, cpu.weights);
    assert.ok(worst < SAME_ADAPTER, `${report.serverBackend} is off by ${worst}`);
    assert.equal(report.accuracy.side, cpu.report.accuracy.side);
  }
});

test('threads change no bit of an adapter, and the report says how many there were', async () => {
  const one = await trainOnServer(space, 'one', { train: ['--threads', '1'] });
  const threads = { serve: ['--threads', '2'], train: ['--threads', '3'] };
  const many = await trainOnServer(space, 'many', threads);
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
    /^gpu:webasm \(gpu\.js\); webgpu: the package webgpu is not installed; webgl2: there is no WebGL 2; headlessgl: the package gl is missing or finds no display$/,
  );
});
