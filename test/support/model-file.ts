import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDir } from '../../src/platform/node.ts';

/** Where tests look for the SmolLM2-135M GGUF: `$MOBILLM_TEST_GGUF`, else the user's cache. */
export const modelPath: string =
  process.env.MOBILLM_TEST_GGUF ??
  join(cacheDir(), 'models', 'smollm2-135m', 'SmolLM2-135M-Instruct.Q4_1.gguf');

/** For `{ skip }`: false where the model file is, else the reason to print. */
export const modelMissing: string | false = existsSync(modelPath)
  ? false
  : `no model file at ${modelPath}: run "mobillm pull smollm2-135m" or set MOBILLM_TEST_GGUF`;
