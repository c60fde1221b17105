import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Backbone,
  openFolderModel,
  openHfFolder,
  type Tokenizer,
  type WeightPrecision,
} from '../../src/model/index.ts';
import { cacheDir, fileByteSource } from '../../src/platform/node.ts';
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
  const file = (name: string) => fileByteSource(join(miniLmPath() as string, name));
  const sources = {
    config: await file('config.json'),
    tokenizer: await file('tokenizer.json'),
    weights: await file('model.safetensors'),
  };
  try {
    const opened = await openFolderModel(await openHfFolder(sources));
    const model = await opened.load(opened.weights('0'.repeat(64)), precision, backend);
    return { model, tokenizer: opened.tokenizer };
  } finally {
    for (const source of Object.values(sources)) await source.close();
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
