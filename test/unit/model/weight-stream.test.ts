import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import {
  type Backbone,
  directReader,
  generate,
  type LayerReader,
  PackedFile,
  PackedWriter,
  packingWeights,
  streamedWeights,
  type WeightPrecision,
} from '../../../src/model/index.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { sha256Bytes, sha256Hasher } from '../../../src/platform/node.ts';
import type { Backend } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { memorySink } from '../../support/packed.ts';
import { tinyFolder, tinyFolders } from '../../support/tiny-models.ts';
import { runTiny } from '../../support/tiny-reference.ts';

const models = tinyFolders().filter(({ reference }) => reference.sequences);
const fingerprint = 'ab'.repeat(32);
const llama = tinyFolder('llama').path;

/** A tiny model in memory, and the same out of a packed file, through readers that are counted. */
async function both(
  path: string,
  precision: WeightPrecision,
  backend: Backend,
  wrap: (reader: LayerReader) => LayerReader = (reader) => reader,
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
    const source = memoryByteSource(bytes);
    const file = await PackedFile.open(source, { fingerprint, precision }, sha256Bytes);
    await file.verify(sha256Hasher);
    const reader = wrap(directReader(source));
    const streamed = await model.load(streamedWeights(weights, file, reader), precision, backend);
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

  it('is read layer after layer, each once a pass however many sequences, the next one announced', async () => {
    const { backend } = backends()[0];
    const begun: number[] = [];
    let filled = 0;
    const { resident, streamed } = await both(llama, 'int8', backend, (reader) => ({
      ...reader,
      begin: (offset) => begun.push(offset),
      fill(offset, target) {
        filled += target.length;
        reader.fill(offset, target);
      },
    }));
    const layers = streamed.config.numHiddenLayers;
    const lengths = Array.from({ length: 30 }, (_, i) => 3 + (i % 20));
    const total = lengths.reduce((sum, n) => sum + n, 0);
    const ids = Int32Array.from({ length: total }, (_, i) => i % streamed.config.vocabSize);
    const run = (backbone: Backbone) => {
      const taps: Float32Array[] = [];
      backbone.forward({ ids, lengths }, (_, hidden) => taps.push(hidden.toFloat32())).dispose();
      return taps;
    };
    const before = filled;
    assert.deepEqual(run(streamed), run(resident));
    assert.equal(begun.length, layers);
    const forwards = begun.slice(0, -1);
    assert.deepEqual(
      forwards.toSorted((a, b) => a - b),
      forwards,
    );
    assert.equal(begun.at(-1), Math.min(...begun), 'behind the last layer comes the first');
    assert.ok(filled - before < resident.weightBytes + 2 ** 16);
  });

  it('refuses ids outside of the vocabulary, and a source that cannot be read at once', async () => {
    const { backend } = backends()[0];
    const { streamed } = await both(llama, 'int8', backend);
    const ids = Int32Array.of(streamed.config.vocabSize);
    assert.throws(() => streamed.forward({ ids, lengths: [1] }), { code: 'E_SHAPE' });
    const { readIntoSync: _, ...slow } = memoryByteSource(new Uint8Array(1));
    assert.throws(() => directReader(slow), { code: 'E_USAGE' });
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
