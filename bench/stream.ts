// A model larger than the device's memory: OPT-1.3B's shape with random int4 weights, a training pass
// over a batch with all weights in memory and with a layer at a time, each in a process of its own.
//   node bench/stream.ts [batch] [tokens] [folder for the packed file, 0.9 GB]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { poolTaps } from '../src/device/tap-pooling.ts';
import { loadOpt, optConfigFromJson, optWeights } from '../src/model/load-opt.ts';
import { arraysOf, emptyWeight } from '../src/model/nn/weight-stream.ts';
import {
  type PackedContent,
  PackedFile,
  PackedWriter,
  packedWeights,
  streamedWeights,
} from '../src/model/packed-file.ts';
import { plannedWeights } from '../src/model/weight-plan.ts';
import { randomWeightSource } from '../src/model/weights/random-source.ts';
import { stopwatch } from '../src/platform/clock.ts';
import { fileByteSource, keepHeapsSmall, sha256Bytes, sha256Hasher } from '../src/platform/node.ts';
import { random, type TypedArray, wasmBackend } from '../src/tensor/index.ts';

/** facebook/opt-1.3b's config.json, as far as the shape goes. */
const OPT = {
  ...{ model_type: 'opt', hidden_size: 2048, num_hidden_layers: 24, num_attention_heads: 32 },
  ...{ ffn_dim: 8192, vocab_size: 50272, max_position_embeddings: 2048, word_embed_proj_dim: 2048 },
  ...{ do_layer_norm_before: true, activation_function: 'relu', tie_word_embeddings: true },
};

/** Runs after one that is not timed. */
const RUNS = 1;

/** Of a weight: 15 steps of 0.004 around zero, in f16. */
const [SCALE, MIN] = [0x1c19, 0xa77a];

const config = optConfigFromJson(OPT, 'opt-1.3b');
const content: PackedContent = { fingerprint: 'f'.repeat(64), precision: 'int4' };

/** Writes random weights one after the other: none of them is held longer than that takes. */
async function writeRandom(path: string): Promise<void> {
  const handle = await open(`${path}.part`, 'w');
  const write = async (offset: number, bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length; ) {
      const rest = bytes.length - done;
      done += (await handle.write(bytes, done, rest, offset + done)).bytesWritten;
    }
  };
  const writer = new PackedWriter({ write }, content, sha256Bytes);
  const backend = wasmBackend();
  let state = 1;
  for (const [name, { kind, shape }] of plannedWeights(optWeights(config))) {
    const entry = { format: kind === 'matrix' ? 'qb4w' : 'f32', shape, parts: [] } as const;
    const weight = emptyWeight(entry, backend);
    arraysOf(weight).forEach(({ handle: at, dtype, numel }, part) => {
      const view = backend.view(at, dtype, numel) as TypedArray;
      if (dtype === 'f32') view.fill(name.endsWith('Bias') ? 0 : name.endsWith('Norm') ? 1 : 0.01);
      else if (dtype === 'u16') view.fill(part === 1 ? SCALE : MIN);
      else {
        const words = new Uint32Array(view.buffer, view.byteOffset, view.byteLength >> 2);
        for (let i = 0; i < words.length; i++) {
          // xorshift32 (Marsaglia 2003).
          state ^= state << 13;
          state ^= state >>> 17;
          state ^= state << 5;
          words[i] = state;
        }
      }
    });
    await writer.add(name, weight);
    weight.dispose();
  }
  await writer.finish();
  await handle.close();
  await rename(`${path}.part`, path);
}

/** One place of the weights: the time of a pass, and the process's highest memory. */
async function measure(path: string, place: string, batch: number, tokens: number) {
  keepHeapsSmall();
  const backend = wasmBackend();
  const source = await fileByteSource(path);
  const file = await PackedFile.open(source, content, sha256Bytes);
  await file.verify(sha256Hasher);
  const bare = randomWeightSource(0);
  const weights = place === 'stream' ? streamedWeights(bare, file) : packedWeights(bare, file);
  const model = await loadOpt(config, weights, 'int4', backend);
  const rng = random(1);
  const lengths = Array.from({ length: batch }, () => tokens);
  const ids = Int32Array.from({ length: batch * tokens }, () => rng.int(config.vocabSize));
  let [sum, best] = [0, Number.POSITIVE_INFINITY];
  for (let run = 0; run <= RUNS; run++) {
    const elapsed = stopwatch();
    model
      .forward({ ids, lengths }, (_, { handle, numel }) => {
        const rows = backend.view(handle, 'f32', numel) as Float32Array;
        sum += poolTaps(rows, lengths, config.hiddenSize, ['last', 'mean'])[0];
      })
      .dispose();
    if (run > 0) best = Math.min(best, elapsed());
  }
  const peakRss = process.resourceUsage().maxRSS * 1024;
  return { place, ms: best, peakRss, sum, ...model.weightMemory, kernels: model.kernels };
}

const [first, ...rest] = process.argv.slice(2);
if (first === 'measure') {
  const [path, place, batch, tokens] = rest;
  console.log(JSON.stringify(await measure(path, place, Number(batch), Number(tokens))));
} else {
  const [tokens = '128', folder = tmpdir()] = rest;
  mkdirSync(folder, { recursive: true });
  const path = join(folder, 'mobillm-opt-1.3b-random-int4.mobipack');
  if (!existsSync(path)) await writeRandom(path);
  const self = fileURLToPath(import.meta.url);
  const results = ['stream', 'resident'].map((place) => {
    const args = [self, 'measure', path, place, first ?? '16', tokens];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (!stdout) throw new Error(stderr);
    console.log(stdout.trim());
    return JSON.parse(stdout) as Awaited<ReturnType<typeof measure>>;
  });
  const [streamed, resident] = results;
  if (streamed.sum !== resident.sum) throw new Error('the two computed different numbers');
  console.log(
    `streamed: ${(streamed.ms / resident.ms).toFixed(2)} of the time, ${(streamed.peakRss / 1e6).toFixed(0)} MB for ${(resident.peakRss / 1e6).toFixed(0)} MB`,
  );
}
