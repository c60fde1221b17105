import type { Backbone } from '../../../src/model/backbone.ts';
import { loadLlama } from '../../../src/model/load-llama.ts';
import {
  PackedFile,
  PackedWriter,
  packingWeights,
  streamedWeights,
} from '../../../src/model/packed-file.ts';
import { randomWeightSource } from '../../../src/model/weights/random-source.ts';
import { opfsByteSource, type SyncAccessHandle } from '../../../src/platform/browser.ts';
import { wasmBackend } from '../../../src/tensor/index.ts';

/* The worker of weight-stream.ts: packs random weights into a file of OPFS and streams them from it. */

/** What TypeScript's types of a page leave out: only workers have it. */
interface WritableHandle extends SyncAccessHandle {
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
}

const config = {
  modelType: 'llama',
  ...{ hiddenSize: 64, numHiddenLayers: 4, numAttentionHeads: 4, numKeyValueHeads: 2, headDim: 16 },
  ...{ intermediateSize: 96, vocabSize: 500, maxPositionEmbeddings: 64 },
  ...{ rmsNormEps: 1e-5, ropeTheta: 10000, tieWordEmbeddings: true },
};
const lengths = [40, 3, 20];
const ids = Int32Array.from({ length: 63 }, (_, i) => (i * 37) % config.vocabSize);

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes.slice()));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** All taps of a batch, and the logits of its last row. */
function run(backbone: Backbone): Float32Array[] {
  const taps: Float32Array[] = [];
  const hidden = backbone.forward({ ids, lengths }, (_, tap) => taps.push(tap.toFloat32()));
  const logits = backbone.logits(hidden);
  taps.push(logits.toFloat32());
  for (const tensor of [hidden, logits]) tensor.dispose();
  return taps;
}

const backend = wasmBackend();
postMessage({ kind: 'opened', description: backend.description });
const folder = await navigator.storage.getDirectory();
for (const precision of ['int8', 'int4'] as const) {
  const name = `${precision}.mobipack`;
  const file = await folder.getFileHandle(name, { create: true });
  const handle: WritableHandle = await (
    file as unknown as { createSyncAccessHandle(): Promise<WritableHandle> }
  ).createSyncAccessHandle();
  handle.truncate(0);
  const weights = randomWeightSource(1);
  const content = { fingerprint: weights.fingerprint, precision };
  const write = async (at: number, bytes: Uint8Array) => {
    if (handle.write(bytes, { at }) !== bytes.length) throw new Error('OPFS took less');
  };
  const writer = new PackedWriter({ write }, content, sha256);
  const resident = await loadLlama(config, packingWeights(weights, writer), precision, backend);
  await writer.finish();
  handle.flush();
  const packed = await PackedFile.open(opfsByteSource(handle, name), content, sha256);
  const streamed = await loadLlama(config, streamedWeights(weights, packed), precision, backend);
  const [expected, got] = [run(resident), run(streamed)];
  const equal = expected.every((tap, i) => tap.every((x, j) => Object.is(x, got[i][j])));
  const { resident: held, slots } = streamed.weightMemory;
  postMessage({ kind: 'ran', precision, equal, held: held + slots, all: resident.weightBytes });
  resident.dispose();
  streamed.dispose();
  await folder.removeEntry(name);
}
postMessage({ kind: 'done', left: backend.memory().bytes });
