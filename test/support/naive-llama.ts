import type { LlamaConfig } from '../../src/model/index.ts';
import { tinyValues } from './tiny-llama.ts';

type Rows = number[][];

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

/**
 * One sequence through the model of `tinyValues(seed)`, written down from the papers in float64,
 * one token after the other: what the real one is compared with where no checkpoint is at hand.
 * Gives the residual stream after 0..L layers and the logits.
 */
export function naiveLlama(
  config: LlamaConfig,
  seed: number,
  ids: ArrayLike<number>,
): { hidden: Rows[]; logits: Rows } {
  const { hiddenSize: d, headDim, numAttentionHeads: heads, numKeyValueHeads: kvHeads } = config;
  const matrix = (name: string, rows: number, columns: number): Rows => {
    const flat = [...tinyValues(seed, name, [rows, columns])];
    return Array.from({ length: rows }, (_, r) => flat.slice(r * columns, (r + 1) * columns));
  };
  const times = (x: number[], w: Rows) => w.map((row) => dot(row, x));
  const norm = (x: number[], name: string) => {
    const rms = Math.sqrt(dot(x, x) / x.length + config.rmsNormEps);
    const weight = tinyValues(seed, name, [d]);
    return x.map((value, i) => (value / rms) * weight[i]);
  };
  // Rotary pairs are (j, j + headDim/2), as in Hugging Face's checkpoints.
  const rotated = (x: number[], position: number) =>
    x.map((value, i) => {
      const inHead = i % headDim;
      const half = headDim / 2;
      const j = inHead % half;
      const angle = position * config.ropeTheta ** ((-2 * j) / headDim);
      const partner = inHead < half ? -x[i + half] : x[i - half];
      return value * Math.cos(angle) + partner * Math.sin(angle);
    });

  const table = matrix('embedTokens', config.vocabSize, d);
  let x: Rows = Array.from(ids, (id) => [...table[id]]);
  const hidden: Rows[] = [x];
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    const at = `layers.${layer}`;
    const wq = matrix(`${at}.qProj`, heads * headDim, d);
    const wk = matrix(`${at}.kProj`, kvHeads * headDim, d);
    const wv = matrix(`${at}.vProj`, kvHeads * headDim, d);
    const wo = matrix(`${at}.oProj`, d, heads * headDim);
    const gate = matrix(`${at}.gateProj`, config.intermediateSize, d);
    const up = matrix(`${at}.upProj`, config.intermediateSize, d);
    const down = matrix(`${at}.downProj`, d, config.intermediateSize);
    const normed = x.map((row) => norm(row, `${at}.inputLayernorm`));
    const q = normed.map((row, t) => rotated(times(row, wq), t));
    const k = normed.map((row, t) => rotated(times(row, wk), t));
    const v = normed.map((row) => times(row, wv));
    const attended = q.map((query, t) => {
      const out: number[] = [];
      for (let h = 0; h < heads; h++) {
        const kv = Math.floor(h / (heads / kvHeads)) * headDim;
        const part = (row: number[], from: number) => row.slice(from, from + headDim);
        const scores = k
          .slice(0, t + 1)
          .map((key) => dot(part(query, h * headDim), part(key, kv)) / Math.sqrt(headDim));
        const top = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - top));
        const sum = weights.reduce((a, b) => a + b, 0);
        for (let c = 0; c < headDim; c++) {
          out.push(weights.reduce((total, w, s) => total + (w / sum) * v[s][kv + c], 0));
        }
      }
      return out;
    });
    x = x.map((row, t) => {
      const mid = times(attended[t], wo).map((value, i) => value + row[i]);
      const second = norm(mid, `${at}.postAttentionLayernorm`);
      const g = times(second, gate);
      const u = times(second, up);
      const product = g.map((value, i) => (value / (1 + Math.exp(-value))) * u[i]);
      return times(product, down).map((value, i) => value + mid[i]);
    });
    hidden.push(x);
  }
  const head = config.tieWordEmbeddings ? table : matrix('lmHead', config.vocabSize, d);
  return { hidden, logits: x.map((row) => times(norm(row, 'norm'), head)) };
}
