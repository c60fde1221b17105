import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import fc from 'fast-check';
import { openFolderModel, openHfFolder } from '../../../src/model/index.ts';
import { MobillmError } from '../../../src/tensor/index.ts';
import { memoryFolder } from '../../support/memory-folder.ts';
import { tinyFolder } from '../../support/tiny-models.ts';

/* Files of a model folder come from outside: whatever stands in them gives a model or a typed error of one line. */

const NAMES = ['opt', 'llama', 'bert', 'gpt2'] as const;
const FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json'] as const;

const folders = new Map(
  NAMES.map((name) => {
    const read = (file: string) => readFileSync(join(tinyFolder(name).path, file));
    const files = Object.fromEntries(
      [...FILES, 'model.safetensors'].map((file) => [file, new Uint8Array(read(file))]),
    );
    return [name, files] as const;
  }),
);

/** Paths to every value of a JSON tree, a few items of a long list alone. */
function pathsOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  const keys = Object.keys(value).slice(0, 12);
  return [
    path,
    ...keys.flatMap((key) => pathsOf((value as Record<string, unknown>)[key], [...path, key])),
  ];
}

/** The tree with another value at the path; without the key where that is undefined. */
function replaced(value: unknown, [key, ...rest]: string[], other: unknown): unknown {
  if (key === undefined) return other;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<
    string,
    unknown
  >;
  copy[key] = replaced(copy[key], rest, other);
  return copy;
}

const odd = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, '', 'x', 0, -1, 1.5, 1e300, true, [], {}, [[]]),
  fc.jsonValue({ maxDepth: 2 }),
);

it('a file with one value changed gives a model or a typed error of one line', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...NAMES),
      fc.constantFrom(...FILES),
      fc.nat(),
      odd,
      async (name, file, at, value) => {
        const files = folders.get(name) as Record<string, Uint8Array>;
        const json = JSON.parse(new TextDecoder().decode(files[file]));
        const paths = pathsOf(json);
        const changed = JSON.stringify(replaced(json, paths[at % paths.length], value)) ?? '';
        const bytes = new TextEncoder().encode(changed);
        try {
          const folder = await openHfFolder(memoryFolder('m', { ...files, [file]: bytes }));
          const { tokenizer, dialogue } = await openFolderModel(folder);
          tokenizer.encode('The film, 1 dog.\n');
          dialogue.chatTemplate?.render([{ role: 'user', content: 'a' }], true);
        } catch (error) {
          assert.ok(error instanceof MobillmError, `${paths[at % paths.length]}: ${error}`);
          assert.doesNotMatch(error.message, /\n/);
        }
      },
    ),
    { numRuns: 400 },
  );
});
