import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../fixtures/models/', import.meta.url));

/** What test/fixtures/models/make_fixtures.py wrote beside a model or a tokenizer. */
export interface TinyReference {
  readonly sequences?: readonly {
    readonly ids: number[];
    /** Of models that read pairs. */
    readonly tokenTypes?: number[];
    /** `[T, D]` after 0..L layers, base64. */
    readonly hidden: string[];
    /** `[T, V]`, base64; none of an encoder. */
    readonly logits?: string;
  }[];
  readonly texts: readonly {
    readonly text: string;
    readonly ids: number[];
    /** Without what stands around a text. */
    readonly plain: number[];
    /** Of `plain`. */
    readonly decoded: string;
  }[];
  readonly chats?: readonly {
    readonly messages: { role: 'system' | 'user' | 'assistant'; content: string }[];
    readonly addGenerationPrompt: boolean;
    readonly text: string;
  }[];
}

/** A folder of test/fixtures/models. */
export interface TinyFolder {
  readonly name: string;
  readonly path: string;
  readonly reference: TinyReference;
}

/** All folders there, tokenizers without a model included. */
export function tinyFolders(): TinyFolder[] {
  return readdirSync(FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => tinyFolder(name));
}

/** One of them. */
export function tinyFolder(name: string): TinyFolder {
  const path = join(FOLDER, name);
  const reference = JSON.parse(readFileSync(join(path, 'expected.json'), 'utf8'));
  return { name, path, reference };
}
