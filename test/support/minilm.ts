import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openModelPath } from '../../src/cli/model-files.ts';
import type { Backbone, Tokenizer, WeightPrecision } from '../../src/model/index.ts';
import { cacheDir } from '../../src/platform/node.ts';
import { type Backend, setBackend } from '../../src/tensor/index.ts';

/** all-MiniLM-L6-v2's folder: `$MOBILLM_TEST_MINILM`, else the user's cache; undefined if in neither. */
export function miniLmPath(): string | undefined {
  const path = process.env.MOBILLM_TEST_MINILM || join(cacheDir(), 'models', 'minilm');
  return existsSync(join(path, 'model.safetensors')) ? path : undefined;
}

/** The reason to skip a test that needs the model, for `{ skip: skipWithoutMiniLm() }`; else false. */
export function skipWithoutMiniLm(): string | false {
  return miniLmPath() === undefined && 'run npm run mobillm -- pull minilm';
}

/** Loads all-MiniLM-L6-v2; only where `skipWithoutMiniLm()` is false. */
export async function loadMiniLm(
  precision: WeightPrecision,
  backend: Backend,
): Promise<{ model: Backbone; tokenizer: Tokenizer }> {
  setBackend(backend);
  const { model: opened, close } = await openModelPath(miniLmPath() as string);
  try {
    const model = await opened.load(opened.weights('0'.repeat(64)), precision, backend);
    return { model, tokenizer: opened.tokenizer };
  } finally {
    await close();
  }
}

/** A text or pair with PyTorch's values, as scripts/make-parity-fixtures.mjs writes them. */
export interface MiniLmCase {
  readonly text: string;
  readonly textPair: string | null;
  readonly ids: number[];
  readonly tokenTypes: number[];
  /** The [CLS] row after the embedding and each layer, base64. */
  readonly hiddenFirst: string[];
  /** Mean over the last layer's tokens, L2-normalised, base64. */
  readonly mean: string;
}

/** PyTorch's values for all-MiniLM-L6-v2 in f32. */
export function miniLmReference(): readonly MiniLmCase[] {
  const path = new URL('../fixtures/minilm.json', import.meta.url);
  return (JSON.parse(readFileSync(path, 'utf8')) as { cases: MiniLmCase[] }).cases;
}
