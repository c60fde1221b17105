import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { byteSize } from '../../../src/cli/flags.ts';
import { measuredKinds, totalOf } from '../../../src/cli/memory-kinds.ts';
import { checkFits, planMemory } from '../../../src/cli/memory-plan.ts';
import { openModelPath } from '../../../src/cli/model-files.ts';
import { labelLoss } from '../../../src/device/label-loss.ts';
import { openLmHead, partTokens } from '../../../src/model/index.ts';
import { loadLmHead } from '../../../src/model/load-head.ts';
import { cacheDir } from '../../../src/platform/node.ts';
import { encodedLength } from '../../../src/quant/index.ts';
import { wasmBackend } from '../../../src/tensor/index.ts';
import { tinyFolder, tinyFolders } from '../../support/tiny-models.ts';

/** The promise: what is predicted against what a process took. */
const TOLERANCE = 0.15;

/** Pieces are rounded up to 64 bytes on either side, and kernels' scratch differs by variant. */
const COUNTED_TOLERANCE = 0.1;

const MODEL = join(cacheDir(), 'models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf');

describe('the plan of a device’s memory', () => {
  for (const { name, path } of tinyFolders().filter(({ reference }) => reference.sequences)) {
    it(`${name}: counts what the wasm backend holds`, async () => {
      const { model, close } = await openModelPath(path);
      try {
        for (const precision of ['f32', 'int8', 'int4'] as const) {
          const lengths = Array<number>(40).fill(16);
          const plan = await planMemory(model, { precision, lengths });
          const backend = wasmBackend();
          const backbone = await model.load(model.weights(''), precision, backend);
          const ids = new Int32Array(40 * 16).fill(1);
          // Codes of kernels' self-tests and the like are gone by then.
          const before = backend.memory().peakBytes;
          backbone.forward({ ids, lengths }, () => {}).dispose();
          const { peakBytes } = backend.memory();
          assert.ok(peakBytes > before);
          assert.equal(plan.weights, backbone.weightBytes);
          const planned = plan.weights + plan.activations;
          assert.ok(
            Math.abs(planned / peakBytes - 1) < COUNTED_TOLERANCE,
            `${precision}: ${planned} planned, ${peakBytes} held`,
          );
          backbone.dispose();
        }
      } finally {
        await close();
      }
    });
  }

  it('knows what a loss takes that is computed here', async () => {
    const { model, close } = await openModelPath(tinyFolder('llama').path);
    try {
      const work = { precision: 'int8', lengths: [1] } as const;
      const lm = { layers: 1, bits: 4, labelLoss: true } as const;
      const [plan, more] = [
        await planMemory(model, work),
        await planMemory(model, { ...work, lm }),
      ];
      const { vocabSize: vocab, hiddenSize: width } = model.config;
      const head = encodedLength(vocab, width, 8);
      assert.ok(more.buffers - plan.buffers > head);
      const backend = wasmBackend();
      const weights = model.weights('');
      const coded = openLmHead(
        await loadLmHead(model, weights, 'int8', backend),
        { vocab, width },
        backend,
      );
      const rows = partTokens(width);
      const states = new Float32Array(rows * width).fill(1);
      const request = { states, tokens: rows, gradient: true, labelSmoothing: 0 };
      const before = backend.memory().bytes;
      labelLoss(coded, Array(rows).fill(0), request, backend);
      const held = backend.memory().peakBytes - before;
      assert.ok(
        Math.abs(more.activations / held - 1) < COUNTED_TOLERANCE,
        `${more.activations}, ${held}`,
      );
    } finally {
      await close();
    }
  });

  it('grows with the batch, the prefix and the threads; streaming leaves slots of the weights', async () => {
    const { model, close } = await openModelPath(tinyFolder('llama').path);
    try {
      const work = { precision: 'int8', lengths: [8, 8] } as const;
      const plan = await planMemory(model, work);
      const wider = await planMemory(model, { ...work, lengths: [16, 16, 16] });
      assert.ok(wider.activations > plan.activations && wider.buffers > plan.buffers);
      const prefixed = await planMemory(model, { ...work, prefixTokens: 5 });
      assert.equal(prefixed.kv, Math.ceil(prefixed.kv / 64) * 64);
      assert.ok(prefixed.kv >= 5 * model.cacheBytesPerToken && plan.kv === 0);
      assert.ok((await planMemory(model, { ...work, threads: 2 })).runtime > plan.runtime);
      const streamed = await planMemory(model, { ...work, weights: 'stream' });
      assert.ok(streamed.slots > 0 && streamed.weights + streamed.slots < plan.weights);
    } finally {
      await close();
    }
  });

  it('fails in one line where it does not fit, and says what would', () => {
    const work = { precision: 'int8', lengths: [128, 128] } as const;
    const kinds = { weights: 9e6, slots: 0, activations: 2e6, kv: 0, buffers: 1e6, runtime: 100e6 };
    assert.equal(totalOf(kinds), 112e6);
    assert.equal(checkFits(kinds, work, { available: 150e6, because: 'x' }), 49e6);
    assert.throws(() => checkFits(kinds, work, { available: 111e6, because: '--memory-limit' }), {
      code: 'E_MEMORY',
      message:
        '--memory-limit: 111.0 MB, about 112.0 MB are needed: 100.0 MB runtime, 9.00 MB weights, 2.00 MB activations, 1.00 MB buffers; use --weights stream, or --precision int4, or a smaller --batch-size, or a smaller --max-seq-length, or a smaller model',
    });
    const large = { ...kinds, weights: 5e9 };
    assert.throws(() => checkFits(large, work, { available: 16e9, because: 'x' }), /has 4 GiB/);
  });

  it('is what a process takes, within 15%', {
    skip: !existsSync(MODEL) && 'no smollm2-135m',
  }, async () => {
    const { model, close } = await openModelPath(MODEL);
    const main = fileURLToPath(new URL('../../support/peak-memory.ts', import.meta.url));
    // Where no packed file is in the cache, this process writes it, which takes memory of its own.
    spawnSync(process.execPath, [main, MODEL, 'int4', 'stream', '1', '1']);
    try {
      const lm = { layers: 3, bits: 4 } as const;
      for (const [weights, lengths, labels] of [
        ['stream', [16, 16]],
        ['resident', [16, 16]],
        ['stream', [16, 16], 'server'],
        // As many tokens as have their logits at a time.
        ['stream', [65, 65], 'device'],
      ] as const) {
        const plan = await planMemory(model, {
          ...{ precision: 'int4', weights, lengths },
          ...(labels && {
            lm: { ...lm, sendsHead: labels === 'server', labelLoss: labels === 'device' },
          }),
        });
        const sizes = [lengths.length, lengths[0]].map(String);
        const args = [MODEL, 'int4', weights, ...sizes, ...(labels ? [labels] : [])];
        const { stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
          encoding: 'utf8',
        });
        const { memory, peakRss } = JSON.parse(stdout || assert.fail(stderr));
        const measured = measuredKinds(memory, peakRss);
        const told = JSON.stringify({ labels, plan, measured });
        assert.ok(Math.abs(totalOf(plan) / peakRss - 1) < TOLERANCE, told);
        assert.equal(measured.weights, plan.weights, told);
        assert.equal(measured.slots, plan.slots, told);
      }
    } finally {
      await close();
    }
  });
});

it('sizes are numbers with a unit', () => {
  assert.deepEqual(['7', '200MB', '1.5 GiB', '3kb'].map(byteSize), [7, 2e8, 1.5 * 2 ** 30, 3000]);
  for (const bad of ['', '0', '-1MB', '2x', '1 TB', 'MB']) assert.throws(() => byteSize(bad));
});
