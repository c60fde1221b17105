import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import {
  type Backbone,
  generate,
  PackedFile,
  PackedWriter,
  packingWeights,
  streamedWeights,
  type WeightPrecision,
} from '../../../src/model/index.ts';
import { type ByteSource, memoryByteSource } from '../../../src/platform/byte-source.ts';
import { sha256Bytes, sha256Hasher } from '../../../src/platform/node.ts';
import type { Backend } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { memorySink } from '../../support/packed.ts';
import { tinyFolder, tinyFolders } from '../../support/tiny-models.ts';
import { runTiny } from '../../support/tiny-reference.ts';

const models = tinyFolders().filter(({ reference }) => reference.sequences);
const fingerprint = 'ab'.repeat(32);
const llama = tinyFolder('llama').path;

/** A tiny model in memory, and the same out of a packed file, through sources that are counted. */
async function both(
  path: string,
  precision: WeightPrecision,
  backend: Backend,
  wrap: (source: ByteSource) => ByteSource = (source) => source,
) {
  const { model, close } = await openModelPath(path);
  const sink = memorySink();
  try {
    const weights = model.weights(fingerprint);
    const resident = await model.load(weights, precision, backend);
    const before = backend.memory().bytes;
    const writer = new PackedWriter(sink, { fingerprint, precision }, sha256Bytes);
    await model.pack(packingWeights(weights, writer), precision, backend);
    assert.equal(backend.memory().bytes, before, 'packing keeps nothing');
    await writer.finish();
    const bytes = sink.bytes();
    const source = wrap(memoryByteSource(bytes));
    const file = await PackedFile.open(source, { fingerprint, precision }, sha256Bytes);
    await file.verify(sha256Hasher);
    const streamed = await model.load(streamedWeights(weights, file), precision, backend);
    return { resident, streamed, bytes };
  } finally {
    await close();
  }
}

describe('streamed weights', () => {
  for (const one of models) {
    for (const precision of ['f32', 'int8', 'int4'] as const) {
      it(`${one.name} ${precision}: the same bits as in memory, in a slot's bytes`, async () => {
        for (const { backend } of backends()) {
          const before = backend.memory();
          const { resident, streamed } = await both(one.path, precision, backend);
          const sequences = one.reference.sequences ?? [];
          assert.deepEqual(runTiny(streamed, sequences), runTiny(resident, sequences));
          assert.equal(streamed.weightBytes, resident.weightBytes);
          assert.equal(streamed.kernels, resident.kernels);
          const { weightMemory } = streamed;
          assert.ok(weightMemory.resident + weightMemory.slots < resident.weightBytes);
          const held = backend.memory().bytes - before.bytes - resident.weightBytes;
          assert.ok(
            held >= weightMemory.resident + weightMemory.slots,
            'a slot is held, and what is resident',
          );
          resident.dispose();
          streamed.dispose();
          assert.equal(backend.memory().allocations, before.allocations);
        }
      });
    }
  }

  it('generates the same tokens, one by one', async () => {
    const { backend } = backends()[0];
    const { resident, streamed } = await both(llama, 'int8', backend);
    const tokens = (backbone: Backbone) => [...generate(backbone, [1, 2, 3], { maxTokens: 8 })];
    assert.deepEqual(tokens(streamed), tokens(resident));
  });

  it('is read layer after layer, each once a pass however many sequences', async () => {
    const { backend } = backends()[0];
    let filled = 0;
    const { resident, streamed } = await both(llama, 'int8', backend, (source) => ({
      ...source,
      readIntoSync(offset, target) {
        filled += target.length;
        source.readIntoSync?.(offset, target);
      },
    }));
    const lengths = Array.from({ length: 30 }, (_, i) => 3 + (i % 20));
    const total = lengths.reduce((sum, n) => sum + n, 0);
    const ids = Int32Array.from({ length: total }, (_, i) => i % streamed.config.vocabSize);
    const run = (backbone: Backbone) => {
      const taps: Float32Array[] = [];
      backbone.forward({ ids, lengths }, (_, hidden) => taps.push(hidden.toFloat32())).dispose();
      return taps;
    };
    assert.deepEqual(run(streamed), run(resident));
    // Rows of words are looked up for every group of sequences.
    assert.ok(filled < resident.weightBytes + 2 ** 16);
  });

  it('refuses ids outside of the vocabulary, and a source that cannot be read at once', async () => {
    const { backend } = backends()[0];
    const { streamed, bytes } = await both(llama, 'int8', backend);
    const ids = Int32Array.of(streamed.config.vocabSize);
    assert.throws(() => streamed.forward({ ids, lengths: [1] }), { code: 'E_SHAPE' });
    const { readIntoSync: _, ...slow } = memoryByteSource(bytes);
    const content = { fingerprint, precision: 'int8' } as const;
    const file = await PackedFile.open(slow, content, sha256Bytes);
    assert.throws(() => file.reader, {
      code: 'E_USAGE',
      message: /cannot be read while computing/,
    });
  });

  it('is verified to the last byte before anything is computed with it', async () => {
    const { bytes } = await both(llama, 'int4', backends()[0].backend);
    const damaged = bytes.slice();
    damaged[4096] ^= 1;
    const content = { fingerprint, precision: 'int4' } as const;
    const file = await PackedFile.open(memoryByteSource(damaged), content, sha256Bytes);
    await assert.rejects(file.verify(sha256Hasher), { code: 'E_PACKED', message: /is damaged/ });
  });
});
