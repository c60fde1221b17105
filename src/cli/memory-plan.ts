import type { Backbone, WeightPrecision } from '../model/backbone.ts';
import type { StoredModel } from '../model/registry.ts';
import { HEAD_PIECE_ROWS, partTokens } from '../model/side/lm-parts.ts';
import { encodedLength } from '../quant/codec.ts';
import { countQuant } from '../quant/runtime.ts';
import type { Backend } from '../tensor/backend.ts';
import { countingBackend } from '../tensor/backends/counting.ts';
import { UsageError } from '../tensor/errors.ts';
import { type MemoryKinds, renderKinds, totalOf } from './memory-kinds.ts';
import type { WeightPlace } from './packed-models.ts';
import { formatBytes } from './progress.ts';

/** What runs, as far as memory depends on it. */
export interface PlannedWork {
  readonly precision: WeightPrecision;
  readonly weights?: WeightPlace;
  readonly threads?: number;
  /** Tokens of each sample of the widest batch. */
  readonly lengths: readonly number[];
  /** Tokens in front of every sample. */
  readonly prefixTokens?: number;
  /** Whether a language model's loss is computed here, too. */
  readonly labelLoss?: boolean;
}

/**
 * Node 24 on Linux with the two threads of a command, all their code, and kernels: measured as what
 * remains of a process when the other kinds are taken off.
 */
const RUNTIME_BYTES = 100e6;

/** More where sources run that nobody compiled before: types are taken out of every file in memory. */
const SOURCE_BYTES = import.meta.url.endsWith('.ts') && !process.env.NODE_COMPILE_CACHE ? 20e6 : 0;

/** Of an entry of the vocabulary: its text, its place in tables, and pairs that make it. */
const TOKEN_BYTES = 260;

/** A thread of kernels: an isolate of V8 with next to nothing in it. */
const THREAD_BYTES = 13e6;

/** Buffers of files that are read and hashed, and what waits to be sent. */
const BUFFER_BYTES = 3e6;

/** All that a 32-bit memory holds. */
const LINEAR_BYTES = 2 ** 32;

/**
 * What a device will take at its widest, before it runs: the model's own forward pass goes over a
 * batch on a backend that counts, so that nothing is estimated twice.
 * @throws FormatError for a model that cannot be loaded; UsageError for samples beyond its context
 */
export async function planMemory(
  model: Pick<StoredModel, 'loadEmpty' | 'config'>,
  work: PlannedWork,
): Promise<MemoryKinds> {
  const { precision, prefixTokens = 0, threads = 1 } = work;
  const backend = countingBackend();
  countQuant(backend);
  const stream = work.weights === 'stream';
  const backbone = await model.loadEmpty(precision, stream, backend);
  const { resident: weights, slots } = backbone.weightMemory;
  const { vocabSize, hiddenSize, numHiddenLayers, maxPositionEmbeddings } = model.config;
  const room = maxPositionEmbeddings - prefixTokens;
  const lengths = work.lengths.map((length) => Math.min(length, room));
  const before = backend.memory().bytes;
  const past = prefixTokens > 0 ? backbone.newCache(prefixTokens) : undefined;
  const kv = backend.memory().bytes - before;
  if (past) {
    const ids = new Int32Array(prefixTokens).fill(1);
    backbone.forward({ ids, lengths: [prefixTokens], past, extendPast: true }).dispose();
  }
  const ids = new Int32Array(lengths.reduce((sum, length) => sum + length, 0)).fill(1);
  backbone.forward({ ids, lengths, past }, () => {}).dispose();
  const loss = work.labelLoss ? await countLabelLoss(backbone, backend) : 0;
  const { peakBytes } = backend.memory();
  return {
    weights,
    slots,
    activations: Math.max(0, peakBytes - weights - slots - kv),
    kv,
    // Last and mean of every layer in f32 at the most, and packed.
    buffers: loss + BUFFER_BYTES + 2 * 5 * lengths.length * hiddenSize * (numHiddenLayers + 1),
    runtime: RUNTIME_BYTES + SOURCE_BYTES + TOKEN_BYTES * vocabSize + THREAD_BYTES * (threads - 1),
  };
}

/**
 * Goes through the loss of a part of a step, as a server without labels asks for it.
 * @returns bytes beside the backend's: the head in 8 bits, a piece of it in f32, states and gradient
 */
async function countLabelLoss({ outputHead, config }: Backbone, backend: Backend): Promise<number> {
  if (!outputHead) return 0;
  // Only who computes it holds what does.
  const { labelLoss } = await import('../device/label-loss.ts');
  const { vocabSize: vocab, hiddenSize: width } = config;
  const coded = new Uint8Array(encodedLength(vocab, width, 8));
  const states = new Float32Array(partTokens(width) * width);
  const labels = Array<number>(partTokens(width)).fill(0);
  const request = { states, tokens: labels.length, gradient: true, labelSmoothing: 0 };
  labelLoss({ norm: outputHead.norm, coded, vocab }, labels, request, backend);
  return coded.length + 4 * HEAD_PIECE_ROWS * width + 2 * states.byteLength;
}

/**
 * Fails before the work begins where it cannot fit.
 * @param available bytes that the process may take; `because` says who says so
 * @returns bytes for the backend's memory
 * @throws UsageError (E_MEMORY)
 */
export function checkFits(
  kinds: MemoryKinds,
  work: PlannedWork,
  { available, because }: { readonly available: number; readonly because: string },
): number {
  const { runtime, buffers, ...tensors } = kinds;
  const total = totalOf(kinds);
  const linear = Object.values(tensors).reduce((sum, bytes) => sum + bytes, 0);
  const ways = [
    ...(work.weights === 'stream' ? [] : ['--weights stream']),
    ...(work.precision === 'int4' ? [] : ['--precision int4']),
    ...(work.lengths.length > 1 ? ['a smaller --batch-size'] : []),
    ...(Math.max(...work.lengths) > 64 ? ['a smaller --max-seq-length'] : []),
    'a smaller model',
  ];
  const advice = `${renderKinds(kinds)}; use ${ways.join(', or ')}`;
  if (total > available) {
    throw new UsageError(
      `${because}: ${formatBytes(available)}, about ${formatBytes(total)} are needed: ${advice}`,
      'E_MEMORY',
    );
  }
  if (linear > LINEAR_BYTES) {
    throw new UsageError(
      `memory: ${formatBytes(linear)} of tensors, WebAssembly has 4 GiB for them: ${advice}`,
      'E_MEMORY',
    );
  }
  return Math.min(LINEAR_BYTES, Math.floor(available - runtime - buffers));
}
