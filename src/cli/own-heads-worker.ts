/** Entry of the thread that makes a server's own output head: it owns the backend of that. */
import type { WeightPrecision } from '../model/backbone.ts';
import { loadLmHead } from '../model/load-head.ts';
import { parentPort } from '../platform/node.ts';
import { serveRpc } from '../platform/rpc.ts';
import { wasmBackend } from '../tensor/index.ts';
import { openModelPath } from './model-files.ts';

serveRpc(parentPort(), {
  async make(
    { path, precision }: { path: string; precision: WeightPrecision },
    { transfer },
  ): Promise<Uint8Array> {
    const { model, close } = await openModelPath(path);
    try {
      const bytes = await loadLmHead(model, model.weights(''), precision, wasmBackend());
      transfer(bytes.buffer as ArrayBuffer);
      return bytes;
    } finally {
      await close();
    }
  },
});
