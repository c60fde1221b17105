import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir } from '../../src/platform/node.ts';

/** Where `mobillm pull smollm2-135m` puts the model, below the cache folder. */
const MODEL_FILE = join('models', 'smollm2-135m', 'SmolLM2-135M-Instruct.Q4_1.gguf');

/** The SmolLM2-135M GGUF: `$MOBILLM_TEST_GGUF`, else the user's cache; undefined when in neither. */
export function modelPath(): string | undefined {
  const path = process.env.MOBILLM_TEST_GGUF || join(cacheDir(), MODEL_FILE);
  return existsSync(path) ? path : undefined;
}

/** The reason to skip a test that needs the model, for `{ skip: skipWithoutModel() }`; else false. */
export function skipWithoutModel(): string | false {
  return modelPath() === undefined && 'run npm run mobillm -- pull smollm2-135m';
}
