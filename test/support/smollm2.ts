import { readFileSync } from 'node:fs';
import {
  type Llama,
  llamaConfigFromGguf,
  loadLlama,
  modelOfGguf,
  openGguf,
  type Tokenizer,
  tokenizerFromGguf,
  type WeightPrecision,
} from '../../src/model/index.ts';
import { fileByteSource } from '../../src/platform/node.ts';
import { type Backend, setBackend, wasmBackend } from '../../src/tensor/index.ts';
import { modelPath } from './model.ts';

/** Loads SmolLM2-135M on a wasm backend of its own; only where `skipWithoutModel()` is false. */
export async function loadSmolLm2(
  precision: WeightPrecision,
): Promise<{ model: Llama; tokenizer: Tokenizer; backend: Backend }> {
  const backend = wasmBackend();
  setBackend(backend);
  const source = await fileByteSource(modelPath() as string);
  try {
    const file = await openGguf(source);
    const config = llamaConfigFromGguf(file);
    const weights = modelOfGguf(file).weights('0'.repeat(64));
    const model = await loadLlama(config, weights, precision, backend);
    return { model, tokenizer: tokenizerFromGguf(file.metadata), backend };
  } finally {
    await source.close();
  }
}

/** A prompt's reference values, as scripts/make-parity-fixtures.mjs writes them. */
export interface ReferencePrompt {
  readonly text: string;
  readonly ids: number[];
  /** Token and logit, likeliest first. */
  readonly top10: [number, number][];
  readonly argmaxEveryPosition: number[];
  readonly logsumexpLast: number;
  readonly lastLogits: { min: number; step: number; u16: string };
  readonly hiddenLastPosition?: string[];
}

/** Reference perplexity: 8 windows of 512 tokens, positions 1..511 of each scored. */
export interface ReferencePerplexity {
  readonly id_sum: number;
  readonly tokens: number;
  readonly first_ids: number[];
  readonly ppl_all: number;
  readonly nll_all: number;
}

/** test/fixtures/smollm2-135m.json. */
export interface SmolLm2Reference {
  readonly prompts: { readonly english: ReferencePrompt; readonly code: ReferencePrompt };
  readonly perplexity: { readonly wordnet: ReferencePerplexity };
}

/** PyTorch's values for SmolLM2-135M in f32. */
export function smolLm2Reference(): SmolLm2Reference {
  const path = new URL('../fixtures/smollm2-135m.json', import.meta.url);
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** Little-endian f32, base64. */
export function unpackF32(base64: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
}

/** The logits of a prompt's last position, each within half of `step`. */
export function unpackLogits({ lastLogits }: ReferencePrompt): Float32Array {
  const { min, step, u16 } = lastLogits;
  const steps = new Uint16Array(Uint8Array.from(Buffer.from(u16, 'base64')).buffer);
  return Float32Array.from(steps, (n) => min + step * n);
}
