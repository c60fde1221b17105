// Trims the PyTorch reference values (../shared/oracle, or the folder given) to the fixtures that
// the parity tests read: node scripts/make-parity-fixtures.mjs [FOLDER]
//
// The references were made with PyTorch 2.15 and transformers 5.23 on a CPU: side-network.json in
// float64, smollm2-135m.json in float32 from the GGUF's dequantized weights, minilm.json in float32.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const folder = process.argv[2] ?? join(root, '..', 'shared', 'oracle');
const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
const write = (name, value) => {
  const text = `${JSON.stringify(value)}\n`;
  writeFileSync(join(root, 'test', 'fixtures', name), text);
  process.stdout.write(`${name}: ${text.length} bytes\n`);
};

/**
 * Little-endian f32 (base64) to 16-bit steps between the smallest and the largest value: half of
 * the bytes, and every value within half a step.
 */
function pack16(base64) {
  const bytes = Uint8Array.from(Buffer.from(base64, 'base64'));
  const values = new Float32Array(bytes.buffer);
  const min = values.reduce((a, b) => Math.min(a, b));
  const step = (values.reduce((a, b) => Math.max(a, b)) - min) / 65_535;
  const packed = new DataView(new ArrayBuffer(2 * values.length));
  values.forEach((value, i) => {
    packed.setUint16(2 * i, Math.round((value - min) / step), true);
  });
  return { min, step, u16: Buffer.from(packed.buffer).toString('base64') };
}

function prompt(reference) {
  return {
    text: reference.text,
    ids: reference.ids,
    top10: reference.top10.map(([id, , logit]) => [id, logit]),
    argmaxEveryPosition: reference.argmax_every_position,
    logsumexpLast: reference.logsumexp_last,
    lastLogits: pack16(reference.last_logits_b64),
    hiddenLastPosition: reference.hidden_last_pos_b64,
  };
}

const model = read('smollm2-135m.json');
write('smollm2-135m.json', {
  model: model.model,
  note: 'lastLogits: min + step * u16, little-endian, base64. hiddenLastPosition: f32, little-endian, base64; 0 is the embedding, i the residual stream after layer i.',
  prompts: {
    english: prompt(model.prompts.english),
    code: prompt(model.prompts.code),
  },
  perplexity: model.perplexity,
});

write('side-network.json', read('side-network.json'));

const encoder = read('minilm.json');
write('minilm.json', {
  model: encoder.model,
  note: "hiddenFirst: the [CLS] row after the embedding (0) and each layer; mean: over the last layer's tokens, L2-normalised. f32, little-endian, base64.",
  cases: encoder.cases.map((one) => ({
    text: one.text,
    textPair: one.text_pair,
    ids: one.ids,
    tokenTypes: one.token_type_ids,
    hiddenFirst: one.hidden_cls_b64,
    mean: one.mean_b64,
  })),
});
