import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  summarizeFolder,
  summarizeGguf,
  summarizeSafetensors,
} from '../../../src/cli/file-summary.ts';
import { diskFolder } from '../../../src/cli/model-files.ts';
import {
  encodeSafetensors,
  openGguf,
  openHfFolder,
  openSafetensors,
} from '../../../src/model/index.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { type GgufSpec, writeGguf } from '../../support/gguf-writer.ts';
import { tinyGguf } from '../../support/tiny-gguf.ts';
import { tinyModel } from '../../support/tiny-model.ts';
import { tinyFolders } from '../../support/tiny-models.ts';

async function summary(spec: GgufSpec | Uint8Array) {
  const bytes = spec instanceof Uint8Array ? spec : writeGguf(spec);
  return summarizeGguf(await openGguf(memoryByteSource(bytes, 'x.gguf')));
}

describe('summarizeGguf', () => {
  it('sums up a model that runs', async () => {
    const { metadata, tensors, types, ...rest } = await summary(tinyModel());
    assert.equal(rest.architecture, 'llama');
    assert.deepEqual([rest.format, rest.version], ['gguf', 3]);
    assert.deepEqual(rest.runs, { supported: true, reasons: [] });
    assert.equal(metadata['llama.block_count'], 3);
    assert.deepEqual(metadata['tokenizer.ggml.merges'], {
      length: 5,
      first: ['Ġ t', 'h e', 'Ġt he', 'i n', 'Ġ a'],
    });
    const tokens = metadata['tokenizer.ggml.tokens'] as { length: number; first: string[] };
    assert.deepEqual([tokens.length, tokens.first.length], [262, 8]);

    assert.deepEqual(tensors[0], {
      ...{ name: 'token_embd.weight', type: 'Q8_0', shape: [262, 64], bytes: 262 * 2 * 34 },
    });
    assert.equal(tensors.length, 2 + 3 * 9);
    // Q8_0: embedding, and 3 layers' values [32, 64] and down projections [64, 96].
    const q8 = types.find(({ type }) => type === 'Q8_0');
    const elements = 262 * 64 + 3 * (32 * 64 + 64 * 96);
    const bytes = (elements / 32) * 34;
    assert.deepEqual(q8, { type: 'Q8_0', tensors: 7, parameters: elements, bytes });
    assert.equal(
      rest.parameters,
      types.reduce((n, { parameters }) => n + parameters, 0),
    );
    assert.ok(types.every(({ bytes }, i) => i === 0 || bytes <= types[i - 1].bytes));

    const { int8, int4, f32 } = rest.weightBytes ?? { int8: 0, int4: 0, f32: 0 };
    assert.equal(f32, 4 * rest.parameters);
    assert.ok(0 < int4 && int4 < int8 && int8 < f32);
  });

  it('gives every reason why a model does not run', async () => {
    const other = await summary(tinyModel({ architecture: 'gemma' }));
    assert.equal(other.architecture, 'gemma');
    assert.equal(other.weightBytes, null);
    assert.deepEqual(other.runs.reasons, [
      {
        code: 'E_MODEL_ARCHITECTURE',
        message:
          'x.gguf: architecture "gemma" is not supported; from GGUF this build runs llama, qwen2, qwen3, gpt2',
      },
    ]);

    const spec = tinyGguf(1);
    const broken = await summary({ ...spec, tensors: spec.tensors?.slice(1, 3) });
    const codes = broken.runs.reasons.map(({ code }) => code);
    assert.deepEqual(codes, ['E_MODEL', 'E_TOKENIZER']);
    assert.equal(broken.weightBytes, null);

    const empty = await summary({});
    assert.equal(empty.architecture, null);
    assert.deepEqual([empty.parameters, empty.types, empty.tensors], [0, [], []]);
  });

  it('is JSON whatever the metadata holds', async () => {
    const { metadata } = await summary({
      metadata: [
        ['big', { type: 'uint64', value: 2n ** 63n }],
        ['inf', { type: 'float32', value: Number.POSITIVE_INFINITY }],
        ['__proto__', { type: 'string', value: 'own' }],
        ['none', { type: 'array', items: [] }],
      ],
    });
    assert.equal(
      JSON.stringify(metadata),
      '{"big":"9223372036854775808","inf":"Infinity","__proto__":"own","none":{"length":0,"first":[]}}',
    );
  });
});

describe('summarizeSafetensors', () => {
  it('lists tensors, and says what is lacking', async () => {
    const tensors = new Map([
      ['a', { shape: [2, 3], values: new Float32Array(6) }],
      ['b', { shape: [4], values: new Float32Array(4) }],
    ]);
    const bytes = encodeSafetensors(tensors, { format: 'pt' });
    const file = await openSafetensors(memoryByteSource(bytes, 'x.safetensors'));
    const summary = summarizeSafetensors(file);
    assert.deepEqual(summary.metadata, { format: 'pt' });
    assert.deepEqual(summary.types, [{ type: 'F32', tensors: 2, parameters: 10, bytes: 40 }]);
    assert.deepEqual(summary.tensors[0], { name: 'a', type: 'F32', shape: [2, 3], bytes: 24 });
    assert.equal(summary.runs.supported, false);
    assert.match(summary.runs.reasons[0].message, /neither configuration nor tokenizer/);
  });
});

describe('summarizeFolder', () => {
  for (const { name, path } of tinyFolders().filter(({ reference }) => reference.sequences)) {
    it(`tells of ${name} what it takes once loaded`, async () => {
      const reader = diskFolder(path);
      const folder = await openHfFolder(reader);
      const summary = summarizeFolder(folder);
      assert.deepEqual(summary.runs, { supported: true, reasons: [] });
      assert.deepEqual([summary.model?.layers, summary.model?.hiddenSize], [2, 32]);
      // A head that is tied is held once, and in the file once.
      assert.equal(summary.weightBytes?.f32, 4 * summary.parameters);
      assert.equal(summary.chatTemplate, ['llama', 'qwen2-sharded', 'qwen3'].includes(name));
      await reader.close();
    });
  }
});
