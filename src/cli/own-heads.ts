import type { WeightPrecision } from '../model/index.ts';
import { loadLmHead } from '../model/load-head.ts';
import type { FoundHead } from '../server/index.ts';
import { UsageError } from '../tensor/errors.ts';
import { wasmBackend } from '../tensor/index.ts';
import { sha256Hex } from '../transport/index.ts';
import { openModelPath } from './model-files.ts';

/** In each of these a device may hold its model, and its head differs with that. */
const PRECISIONS: readonly WeightPrecision[] = ['int8', 'int4', 'f32'];

/**
 * Output heads of models that a server has itself, by their SHA-256, as devices with the same files
 * would send them.
 * @param paths `.gguf` files, or folders in Hugging Face's layout
 * @throws UsageError for a path with no model, or an encoder, which has no head; FormatError for a
 *   model that this build does not run
 */
export async function loadOwnHeads(
  paths: readonly string[],
): Promise<ReadonlyMap<string, FoundHead>> {
  const heads = new Map<string, FoundHead>();
  for (const path of paths) {
    const { model, close } = await openModelPath(path);
    try {
      if (model.family === 'encoder') {
        throw new UsageError(
          `--heads: ${path} is an encoder and makes no next token; give a decoder`,
        );
      }
      for (const precision of PRECISIONS) {
        // A backend of its own, whose memory goes with it.
        const bytes = await loadLmHead(model, model.weights(''), precision, wasmBackend());
        const sha256 = await sha256Hex(bytes);
        if (!heads.has(sha256)) heads.set(sha256, { bytes, from: `${path}, ${precision}` });
      }
    } finally {
      await close();
    }
  }
  return heads;
}
