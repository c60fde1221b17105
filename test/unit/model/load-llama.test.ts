import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type Llama,
  llamaConfigFromGguf,
  loadLlama,
  modelOfGguf,
  openGguf,
  type WeightSource,
} from '../../../src/model/index.ts';
import { memoryByteSource } from '../../../src/platform/byte-source.ts';
import { cpuBackend, FormatError, live, scope } from '../../../src/tensor/index.ts';
import { backends } from '../../support/backends.ts';
import { rmsError } from '../../support/close.ts';
import { type GgufField, type GgufSpec, writeGguf } from '../../support/gguf-writer.ts';
import { TINY_METADATA, tinyGguf } from '../../support/tiny-gguf.ts';
import { TINY, tinyIds, tinyLlama, tinySource } from '../../support/tiny-llama.ts';

/**
 * Root mean square error of logits over their own. Weights of 7 bits are off by 1% in each of 15
 * matmuls, and attention as sharp as this model's makes more of it: 0.065 was measured.
 */
const INT8 = 0.1;
/** Weights of 4 bits have eight times the step: 0.36 was measured. */
const INT4 = 0.5;

const open = (spec: GgufSpec) => openGguf(memoryByteSource(writeGguf(spec), 'tiny.gguf'));

/** `TINY_METADATA` with some keys replaced, or left out. */
function metadata(changes: Record<string, GgufField | undefined>): [string, GgufField][] {
  const all = new Map<string, GgufField | undefined>([
    ...TINY_METADATA,
    ...Object.entries(changes),
  ]);
  return [...all].filter((entry): entry is [string, GgufField] => entry[1] !== undefined);
}

const uint32 = (value: number): GgufField => ({ type: 'uint32', value });
const float32 = (value: number): GgufField => ({ type: 'float32', value });
const text = (value: string): GgufField => ({ type: 'string', value });

function finalLogits(model: Llama): Float32Array {
  const ids = tinyIds(16);
  return scope(() => model.logits(model.forward({ ids, lengths: [16] })).toFloat32());
}

describe('llamaConfigFromGguf', () => {
  it('reads every number', async () => {
    const config = llamaConfigFromGguf(await open(tinyGguf(1)));
    const rounded = { ...TINY, rmsNormEps: Math.fround(TINY.rmsNormEps) };
    assert.deepEqual(config, rounded);
  });

  it('knows what a file may leave out', async () => {
    const left = metadata({
      'llama.attention.head_count_kv': undefined,
      'llama.rope.dimension_count': undefined,
      'llama.rope.freq_base': undefined,
      'llama.rope.scaling.type': text('none'),
    });
    const config = llamaConfigFromGguf(await open(tinyGguf(1, { metadata: left })));
    assert.equal(config.numKeyValueHeads, TINY.numAttentionHeads);
    assert.equal(config.headDim, TINY.hiddenSize / TINY.numAttentionHeads);
    assert.equal(config.ropeTheta, 10_000);
  });

  it('ties the head to the embedding when there is no other', async () => {
    const spec = tinyGguf(1);
    const [embedding] = spec.tensors ?? [];
    const untied = [...(spec.tensors ?? []), { ...embedding, name: 'output.weight' }];
    const config = llamaConfigFromGguf(await open({ ...spec, tensors: untied }));
    assert.equal(config.tieWordEmbeddings, false);
  });

  const refused: [string, string, Record<string, GgufField | undefined>, RegExp][] = [
    [
      'another architecture',
      'E_MODEL_ARCHITECTURE',
      { 'general.architecture': text('qwen2') },
      /qwen2/,
    ],
    ['none', 'E_MODEL_ARCHITECTURE', { 'general.architecture': undefined }, /architecture/],
    [
      'an architecture of 64 bits',
      'E_MODEL_ARCHITECTURE',
      { 'general.architecture': { type: 'uint64', value: 2n ** 63n } },
      /architecture/,
    ],
    [
      'an architecture of several lines',
      'E_MODEL_ARCHITECTURE',
      { 'general.architecture': text('a\nb') },
      /a\\nb/,
    ],
    ['rope scaling', 'E_MODEL_ARCHITECTURE', { 'llama.rope.scaling.type': text('yarn') }, /yarn/],
    [
      'linear rope scaling under its old key',
      'E_MODEL_ARCHITECTURE',
      { 'llama.rope.scale_linear': float32(4) },
      /scal/,
    ],
    ['no layers', 'E_MODEL', { 'llama.block_count': uint32(0) }, /block_count/],
    ['half a layer', 'E_MODEL', { 'llama.block_count': float32(1.5) }, /block_count/],
    ['a width in words', 'E_MODEL', { 'llama.embedding_length': text('32') }, /embedding_length/],
    [
      'endless context',
      'E_MODEL',
      { 'llama.context_length': float32(Number.POSITIVE_INFINITY) },
      /context_length/,
    ],
    ['heads that do not fit', 'E_MODEL', { 'llama.attention.head_count': uint32(5) }, /heads/],
    ['3 key heads for 4', 'E_MODEL', { 'llama.attention.head_count_kv': uint32(3) }, /heads/],
    [
      'heads a layer',
      'E_MODEL',
      {
        'llama.attention.head_count_kv': {
          type: 'array',
          items: [uint32(2), uint32(2)],
          itemType: 4,
        },
      },
      /head_count_kv/,
    ],
    ['odd heads', 'E_MODEL', { 'llama.rope.dimension_count': uint32(7) }, /heads of 7/],
    [
      'a norm of NaN',
      'E_MODEL',
      { 'llama.attention.layer_norm_rms_epsilon': float32(Number.NaN) },
      /rms/,
    ],
    ...[
      'embedding_length',
      'feed_forward_length',
      'block_count',
      'attention.head_count',
      'attention.layer_norm_rms_epsilon',
      'context_length',
    ].map((key): [string, string, Record<string, undefined>, RegExp] => [
      `no ${key}`,
      'E_MODEL',
      { [`llama.${key}`]: undefined },
      new RegExp(key),
    ]),
  ];
  for (const [what, code, changes, pattern] of refused) {
    it(`refuses ${what} (${code})`, async () => {
      const file = await open(tinyGguf(1, { metadata: metadata(changes) }));
      assert.throws(
        () => llamaConfigFromGguf(file),
        (error: Error) => {
          assert.ok(error instanceof FormatError, `${error}`);
          assert.equal(error.code, code);
          assert.match(error.message, /^tiny\.gguf: [^\n]+$/);
          assert.match(error.message, pattern);
          return true;
        },
      );
    });
  }

  it('refuses tensors that would change the result unseen', async () => {
    const spec = tinyGguf(1);
    const data = new Uint8Array(16);
    for (const name of ['blk.0.attn_q.bias', 'blk.1.attn_k_norm.weight', 'extra']) {
      const tensors = [...(spec.tensors ?? []), { name, dims: [4], type: 0, data }];
      const file = await open({ ...spec, tensors });
      assert.throws(() => modelOfGguf(file), {
        code: 'E_MODEL_ARCHITECTURE',
        message: new RegExp(name),
      });
    }
  });

  it('refuses a file without an embedding', async () => {
    const file = await open({ ...tinyGguf(1), tensors: [] });
    assert.throws(() => llamaConfigFromGguf(file), { code: 'E_MODEL', message: /token_embd/ });
  });
});

for (const { name, backend } of backends()) {
  describe(`loadLlama, ${name}`, () => {
    it('a GGUF file gives the model it was written from', async () => {
      const file = await open(tinyGguf(7));
      const config = llamaConfigFromGguf(file);
      const source = modelOfGguf(file).weights('f'.repeat(64));
      const model = await loadLlama(config, source, 'f32', backend);
      const direct = await tinyLlama(backend, { seed: 7, config });
      assert.deepEqual(finalLogits(model), finalLogits(direct));
      model.dispose();
      direct.dispose();
    });

    it('integers stay close to f32, eight bits closer than four', async (t) => {
      const f32 = await tinyLlama(backend);
      const want = finalLogits(f32);
      const errors = { int8: 0, int4: 0 };
      for (const precision of ['int8', 'int4'] as const) {
        const model = await tinyLlama(backend, { precision });
        assert.equal(model.precision, precision);
        assert.ok(model.kernels.includes(`[${precision}]`), model.kernels);
        assert.ok(model.weightBytes < f32.weightBytes / 2);
        const got = finalLogits(model);
        errors[precision] = rmsError(got, want);
        model.dispose();
      }
      const { int8, int4 } = errors;
      t.diagnostic(`int8 ${int8}, int4 ${int4}`);
      assert.ok(int8 > 0 && int8 < INT8, `int8 is off by ${int8}`);
      assert.ok(3 * int8 < int4 && int4 < INT4, `int4 is off by ${int4}`);
      f32.dispose();
    });

    it('tells of each matrix', async () => {
      for (const [tieWordEmbeddings, matrices] of [
        [true, 15],
        [false, 16],
      ] as const) {
        const seen: [number, number][] = [];
        const config = { ...TINY, tieWordEmbeddings };
        const model = await loadLlama(config, tinySource(1), 'f32', backend, (done, total) =>
          seen.push([done, total]),
        );
        assert.deepEqual(
          seen,
          Array.from({ length: matrices }, (_, i) => [i + 1, matrices]),
        );
        model.dispose();
      }
    });

    it('leaves nothing behind when a matrix is missing', async () => {
      const before = live(backend).bytes;
      const source: WeightSource = {
        ...tinySource(1),
        async matrix(matrix, rows, columns) {
          if (matrix === 'layers.1.upProj') throw new FormatError('missing', 'E_MODEL');
          return tinySource(1).matrix(matrix, rows, columns);
        },
      };
      for (const precision of ['f32', 'int8', 'int4'] as const) {
        await assert.rejects(loadLlama(TINY, source, precision, backend), FormatError);
        assert.equal(live(backend).bytes, before, precision);
      }
    });
  });
}

describe('weights held', () => {
  it('are counted as the backend counts them', async () => {
    const backend = cpuBackend();
    const before = live(backend).bytes;
    const model = await tinyLlama(backend, { config: { maxPositionEmbeddings: 2 } });
    // The rotary table, two positions of four frequencies, is no weight.
    assert.equal(live(backend).bytes - before, model.weightBytes + 2 * 2 * 4 * 4);
    model.dispose();
  });
});
