import { perplexityOf, windowNll, wordnetIds } from './perplexity.ts';
import { loadSmolLm2 } from './smollm2.ts';

const p = process.argv[2] as 'f32',
  n = Number(process.argv[3]);
const { model, tokenizer } = await loadSmolLm2(p);
const ids = wordnetIds(tokenizer);
console.log(
  ids.length,
  ids.reduce((a, b) => a + b),
);
const out: number[] = [];
for (let w = 0; w < n; w++) {
  const t = performance.now();
  out.push(windowNll(model, ids, w));
  console.log(w, out[w], performance.now() - t);
}
console.log(p, JSON.stringify(out), perplexityOf(out));
