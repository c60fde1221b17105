import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type BenchResult,
  type BenchSubject,
  renderBench,
  spreadOf,
  testName,
} from '../../../src/cli/bench-report.ts';

const SUBJECT: BenchSubject = {
  model: 'folder/a "model".gguf',
  info: {
    architecture: 'llama',
    parameters: 134_515_008,
    kernels: 'gemmQd8F32Qc8w relaxed (i16 dot) [int8]',
    precision: 'int8',
    weightBytes: 150 * 2 ** 20,
  },
  cpu: 'A CPU',
  runtime: 'Node 24.0.0',
  check: { compared: 'a prompt at once and token by token', firstLayer: 1.5e-7, end: 0.0806 },
  peakRss: 400e6,
  memory: { weights: 139e6, slots: 0, activations: 1e6, kv: 0, buffers: 0, runtime: 260e6 },
};

const RAN = { threads: 1, backend: 'wasm (relaxed)' };

const RESULTS: BenchResult[] = [
  {
    test: { kind: 'pp', tokens: 128, batch: 1 },
    ...RAN,
    startedAt: '2026-01-01T00:00:00.000Z',
    // 128 and 256 tokens a second.
    runs: [
      { ms: 1000, tokens: 128, bytes: 0 },
      { ms: 500, tokens: 128, bytes: 0 },
    ],
  },
  {
    test: { kind: 'tg', tokens: 64, batch: 1 },
    ...RAN,
    startedAt: '2026-01-01T00:00:02.000Z',
    runs: [{ ms: 1000, tokens: 64, bytes: 0 }],
  },
];

const STEP: BenchResult = {
  test: {
    kind: 'step',
    tokens: 128,
    batch: 8,
    taps: { layers: [1], kinds: ['last'], bits: 4 },
  },
  ...RAN,
  startedAt: '2026-01-01T00:00:03.000Z',
  runs: [{ ms: 2000, tokens: 1000, bytes: 8 * 6912 }],
};

test('md is a table as llama-bench writes it, and what ran below it', () => {
  assert.equal(
    renderBench('md', SUBJECT, RESULTS),
    `| model           |       size |   params | backend        | threads |  test |            t/s |
| --------------- | ---------: | -------: | -------------- | ------: | ----: | -------------: |
| llama 135M int8 | 150.00 MiB | 134.52 M | wasm (relaxed) |       1 | pp128 | 192.00 ± 90.51 |
| llama 135M int8 | 150.00 MiB | 134.52 M | wasm (relaxed) |       1 |  tg64 |   64.00 ± 0.00 |

cpu: A CPU; Node 24.0.0
kernels: gemmQd8F32Qc8w relaxed (i16 dot) [int8]
checked before: a prompt at once and token by token are 1.5e-7 apart behind layer 1, 0.081 at the end
highest memory of the process: 400.0 MB: 260.0 MB runtime, 139.0 MB weights, 1.00 MB activations
`,
  );
});

test('md tells the bytes of a sample where a training batch was measured', () => {
  const rows = renderBench('md', SUBJECT, [STEP]).split('\n').slice(0, 3);
  const cells = rows.map((row) => row.split('|').map((cell) => cell.trim()));
  assert.deepEqual(cells[0].slice(6, 9), ['test', 't/s', 'bytes/sample']);
  assert.deepEqual(cells[2].slice(6, 9), ['step8x128', '500.00 ± 0.00', '6912']);
  assert.equal(new Set(rows.map((row) => row.length)).size, 1);
});

test('sizes and parameters of a large model are in GiB and billions', () => {
  const info = { ...SUBJECT.info, parameters: 1_315_758_080, weightBytes: 1.5 * 2 ** 30 };
  const text = renderBench('md', { ...SUBJECT, info }, RESULTS);
  assert.match(text, /\| llama 1\.3B int8 \| 1\.50 GiB \| 1\.32 B \|/);
});

test("json is a list of records under llama-bench's names", () => {
  const records = JSON.parse(renderBench('json', SUBJECT, [...RESULTS, STEP]));
  assert.equal(records.length, 3);
  const [pp, tg, step] = records;
  assert.deepEqual(
    [pp.test, pp.n_prompt, pp.n_gen, pp.avg_ns, pp.stddev_ns, pp.avg_ts, pp.samples_ts],
    ['pp128', 128, 0, 750_000_000, 353_553_391, 192, [128, 256]],
  );
  assert.deepEqual([pp.samples_ns, pp.bytes_per_sample], [[1e9, 5e8], null]);
  assert.deepEqual([tg.n_prompt, tg.n_gen, tg.stddev_ts, tg.repetitions], [0, 64, 0, 1]);
  assert.deepEqual([step.n_samples, step.n_tokens, step.bytes_per_sample], [8, 1000, 6912]);
  assert.equal(pp.model_filename, SUBJECT.model);
  assert.equal(pp.model_n_params, 134_515_008);
});

test('csv has a head, all fields in quotes, and quotes in them doubled', () => {
  const [head, pp, tg, rest] = renderBench('csv', SUBJECT, RESULTS).split('\n');
  assert.equal(rest, '');
  assert.ok(head.startsWith('cpu_info,runtime,backends,kernels,model_filename,'));
  assert.ok(pp.startsWith('"A CPU","Node 24.0.0","wasm (relaxed)",'));
  assert.ok(pp.includes('"folder/a ""model"".gguf"'));
  for (const line of [pp, tg]) {
    assert.equal(line.split('","').length, head.split(',').length);
  }
  assert.ok(!head.includes('samples_ns'));
});

test('no results are an empty list, and no csv', () => {
  assert.deepEqual(JSON.parse(renderBench('json', SUBJECT, [])), []);
  assert.equal(renderBench('csv', SUBJECT, []), '');
});

test('the deviation has n - 1 below it', () => {
  assert.deepEqual(spreadOf([2, 4, 9]), { mean: 5, deviation: Math.sqrt(26 / 2) });
  assert.deepEqual(spreadOf([7]), { mean: 7, deviation: 0 });
});

test('tests are named by what runs and how much of it', () => {
  assert.deepEqual(
    [...RESULTS, STEP].map((r) => testName(r.test)),
    ['pp128', 'tg64', 'step8x128'],
  );
});
