import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openModelPath } from '../../src/cli/model-files.ts';
import {
  architectures,
  type OpenedModel,
  openGgufModel,
  rotaryFrequencies,
  scaleLlama3,
} from '../../src/model/index.ts';
import { memoryByteSource } from '../../src/platform/byte-source.ts';
import { backends } from '../support/backends.ts';
import { folderToGguf } from '../support/folder-to-gguf.ts';
import { type TinyFolder, tinyFolder, tinyFolders } from '../support/tiny-models.ts';
import { assertCloseRun, expectedOf, runTiny } from '../support/tiny-reference.ts';

/* docs/models.md says what runs from which files on what; here each yes of its table is run. */

interface Row {
  readonly modelType: string;
  readonly kind: string;
  readonly gguf: boolean;
  readonly folder: boolean;
  readonly backends: string[];
}

function tableRows(): Row[] {
  const page = readFileSync(new URL('../../docs/models.md', import.meta.url), 'utf8');
  const [, table] = page.split('\n## ');
  const lines = table.split('\n').filter((line) => line.startsWith('| `'));
  return lines.map((line) => {
    const cells = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
    const [modelType, , kind, gguf, folder, cpu, wasm] = cells;
    for (const cell of [gguf, folder, cpu, wasm]) assert.match(cell, /^(yes|no)$/, line);
    return {
      modelType: modelType.replaceAll('`', ''),
      kind,
      gguf: gguf === 'yes',
      folder: folder === 'yes',
      backends: [...(cpu === 'yes' ? ['cpu'] : []), ...(wasm === 'yes' ? ['wasm'] : [])],
    };
  });
}

const modelTypeOf = ({ path }: TinyFolder) =>
  JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')).model_type as string;

const folders = tinyFolders().filter(({ reference }) => reference.sequences);
const ofType = (modelType: string) => folders.filter((one) => modelTypeOf(one) === modelType);

/** Runs a model on every backend that the row names, and compares it with transformers. */
async function expectRuns(row: Row, { reference }: TinyFolder, model: OpenedModel): Promise<void> {
  const ran = backends().filter(({ backend }) => row.backends.includes(backend.name));
  assert.deepEqual([...new Set(ran.map(({ backend }) => backend.name))], row.backends);
  assert.equal(model.family, row.kind);
  for (const { backend } of ran) {
    const backbone = await model.load(model.weights(''), 'f32', backend);
    assertCloseRun(runTiny(backbone, reference.sequences), expectedOf(reference.sequences));
    backbone.dispose();
  }
}

describe('docs/models.md', () => {
  it('has a row for each architecture and no other', () => {
    const built = architectures().map(({ family, ...rest }) => ({ ...rest, kind: family }));
    const rows = tableRows().map(({ modelType, kind, gguf, folder }) => {
      return { modelType, gguf, folder, kind };
    });
    assert.deepEqual(rows, built);
  });

  for (const row of tableRows()) {
    if (row.folder) {
      it(`${row.modelType} runs from its folder`, async () => {
        assert.ok(ofType(row.modelType).length > 0, 'no fixture');
        for (const one of ofType(row.modelType)) {
          const { model, close } = await openModelPath(one.path);
          await expectRuns(row, one, model);
          await close();
        }
      });
    }
    if (row.gguf) {
      it(`${row.modelType} runs from GGUF, with its tokenizer and chat template`, async () => {
        for (const one of ofType(row.modelType)) {
          if (one.name === 'llama-rope3') continue;
          const source = memoryByteSource(await folderToGguf(one.path), `${one.name}.gguf`);
          const model = await openGgufModel(source);
          await expectRuns(row, one, model);
          for (const { text, ids, plain } of one.reference.texts) {
            assert.deepEqual(model.tokenizer.encode(text), ids, JSON.stringify(text));
            assert.deepEqual(model.tokenizer.encodePlain?.(text), plain, JSON.stringify(text));
          }
          const { chatTemplate } = model.dialogue;
          for (const { messages, addGenerationPrompt, text } of one.reference.chats ?? []) {
            if (chatTemplate)
              assert.equal(chatTemplate.render(messages, addGenerationPrompt), text);
          }
          assert.equal(chatTemplate !== undefined, one.name === 'qwen3');
        }
      });
    }
  }

  it("runs Llama 3's scaling from GGUF, where it is a tensor of divisors", async () => {
    const one = tinyFolder('llama-rope3');
    const plain = rotaryFrequencies(16, 10_000);
    const scaled = scaleLlama3(plain, {
      type: 'llama3',
      ...{ factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 32 },
    });
    const factors = Float32Array.from(plain, (frequency, j) => frequency / scaled[j]);
    assert.ok(factors[0] === 1 && factors[1] > 1 && factors[1] < 8 && factors[7] === 8);
    const bytes = await folderToGguf(one.path, factors);
    const model = await openGgufModel(memoryByteSource(bytes, 'rope3.gguf'));
    const row = tableRows().find(({ modelType }) => modelType === 'llama') as Row;
    await expectRuns(row, one, model);

    const [{ backend }] = backends();
    const before = backend.memory().allocations;
    for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const bytes = await folderToGguf(one.path, factors.with(2, bad));
      const broken = await openGgufModel(memoryByteSource(bytes, 'broken.gguf'));
      await assert.rejects(broken.load(broken.weights(''), 'f32', backend), { code: 'E_MODEL' });
    }
    assert.equal(backend.memory().allocations, before);
  });
});
