import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { openModelPath } from '../../../src/cli/model-files.ts';
import {
  type PackedContent,
  PackedFile,
  PackedWriter,
  packedFileName,
  packedWeights,
  packingWeights,
  randomWeightSource,
  type WeightSource,
} from '../../../src/model/index.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { sha256Bytes } from '../../../src/platform/node.ts';
import { arrangeQ41Blocks, arrangeQb4w, arrangeQc8w } from '../../../src/quant/index.ts';
import { type Backend, random } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { memorySink } from '../../support/packed.ts';
import { tinyFolders } from '../../support/tiny-models.ts';
import { runTiny } from '../../support/tiny-reference.ts';

const content: PackedContent = { fingerprint: 'ab'.repeat(32), precision: 'int8' };
const models = tinyFolders().filter(({ reference }) => reference.sequences);

/** A packed file of a tiny model, and what the model computed while it was packed. */
async function pack(at: (typeof models)[number], { precision }: PackedContent, backend: Backend) {
  const { model, close } = await openModelPath(at.path);
  const sink = memorySink();
  const writer = new PackedWriter(sink, { ...content, precision }, sha256Bytes);
  try {
    const plain = await model.load(model.weights(''), precision, backend);
    const outputs = runTiny(plain, at.reference.sequences ?? []);
    plain.dispose();
    const weights = packingWeights(model.weights(''), writer);
    (await model.load(weights, precision, backend)).dispose();
    assert.equal(await writer.finish(), sink.bytes().length);
    return { model, outputs, bytes: sink.bytes() };
  } finally {
    await close();
  }
}

const opened = (bytes: Uint8Array, of = content) =>
  PackedFile.open(memoryByteSource(bytes, 'x.mobipack'), of, sha256Bytes);

/** The names of all that is read out of a model's own files. */
const unreadable: WeightSource = {
  ...randomWeightSource(0),
  matrix: () => assert.fail('the model file was read'),
  vector: () => assert.fail('the model file was read'),
};

describe('a file of packed weights', () => {
  for (const one of models) {
    for (const precision of ['int8', 'int4'] as const) {
      it(`${one.name} ${precision}: loads to the same bits, on every backend`, async () => {
        const written = await Promise.all(
          backends().map(({ backend }) => pack(one, { ...content, precision }, backend)),
        );
        for (const { bytes } of written) assert.deepEqual(bytes, written[0].bytes);
        for (const [i, { backend }] of backends().entries()) {
          const before = backend.memory().allocations;
          const { model, outputs, bytes } = written[i];
          const file = await opened(bytes, { ...content, precision });
          const read = await model.load(packedWeights(unreadable, file), precision, backend);
          assert.deepEqual(runTiny(read, one.reference.sequences ?? []), outputs);
          read.dispose();
          assert.equal(backend.memory().allocations, before);
        }
      });
    }
  }

  it('is refused with any byte changed, anywhere cut, or longer, and leaves no memory', async () => {
    const { backend } = backends()[0];
    const { model, bytes } = await pack(models[0], content, backend);
    const refused = async (damaged: Uint8Array, what: string) => {
      const load = async () => {
        const file = await opened(damaged);
        await model.load(packedWeights(unreadable, file), 'int8', backend);
      };
      const before = backend.memory().allocations;
      await assert.rejects(load(), { code: 'E_PACKED' }, what);
      assert.equal(backend.memory().allocations, before, what);
    };
    const rng = random(1);
    const places = Array.from({ length: 60 }, () => Math.floor(rng.uniform() * bytes.length));
    for (const at of [...Array(64).keys(), ...places, bytes.length - 1]) {
      const damaged = bytes.slice();
      damaged[at] ^= 1 << (at % 8);
      await refused(damaged, `byte ${at}`);
    }
    for (const length of [0, 1, 63, 64, 65, bytes.length >> 1, bytes.length - 1]) {
      await refused(bytes.slice(0, length), `${length} bytes`);
    }
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    await refused(longer, 'a byte more');
  });

  it('is refused for other weights, another precision, version or layout', async () => {
    const { bytes } = await pack(models[0], content, backends()[0].backend);
    const other = { ...content, fingerprint: 'cd'.repeat(32) };
    await assert.rejects(opened(bytes, other), { code: 'E_PACKED', message: /fingerprint abab/ });
    const int4 = { ...content, precision: 'int4' } as const;
    await assert.rejects(opened(bytes, int4), { code: 'E_PACKED', message: /precision int8/ });
    const newer = bytes.slice();
    newer[8] = 2;
    await assert.rejects(opened(newer), { message: /version 2, this release reads 1/ });

    // A whole and valid file but for its layout.
    const view = new DataView(bytes.buffer);
    const from = Number(view.getBigUint64(16, true));
    const text = new TextDecoder().decode(bytes.subarray(from));
    const changed = new TextEncoder().encode(text.replace('"panel":8', '"panel":9'));
    const layout = bytes.slice();
    layout.set(changed, from);
    layout.set(createHash('sha256').update(changed).digest(), 32);
    await assert.rejects(opened(layout), { code: 'E_PACKED', message: /another layout/ });
    const none = new TextEncoder().encode(text.replace(/"entries":\[/, '"entries":[1,'));
    const odd = new Uint8Array(from + none.length);
    odd.set(bytes.subarray(0, from));
    odd.set(none, from);
    new DataView(odd.buffer).setBigUint64(24, BigInt(none.length), true);
    odd.set(createHash('sha256').update(none).digest(), 32);
    await assert.rejects(opened(odd), { code: 'E_PACKED', message: /not in the form/ });
  });

  it('has a name of all that it depends on', () => {
    assert.equal(packedFileName(content), `${'ab'.repeat(32)}-int8-layout2.mobipack`);
  });
});

describe('PACK_LAYOUT', () => {
  it('rises whenever packers give other bytes: they are these in layout 2', () => {
    const rng = random(7);
    const weight = Float32Array.from({ length: 11 * 160 }, () => rng.normal());
    const blocks = Uint8Array.from({ length: 9 * 2 * 20 }, (_, i) => (i % 20 < 4 ? 40 : i * 37));
    const hash = createHash('sha256');
    for (const { packed, scales } of [
      arrangeQc8w(weight, 11, 160, 128),
      arrangeQb4w(weight, 11, 160, 32),
      arrangeQ41Blocks(blocks, 9, 64),
    ]) {
      for (const part of [packed, scales]) hash.update(new Uint8Array(part.buffer));
    }
    assert.equal(
      hash.digest('hex'),
      'a2e087f8c9b0c492cb766fb6a304ff56da89c36f52c4f6e677411a66228a5a3f',
    );
  });
});
