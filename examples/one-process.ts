// A frozen language model and a trained side network in one process. The model only runs forward;
// the side network learns from its hidden states which of four words stands somewhere in a text.
// npm run example -- one-process
import { poolTaps } from 'mobillm/device';
import { adamwInit, adamwStep, loadLlama, parallelSide, randomWeightSource } from 'mobillm/model';
import { installQuant } from 'mobillm/quant';
import {
  argmax,
  crossEntropy,
  isRecording,
  keep,
  type Random,
  random,
  setBackend,
  type Tensor,
  tensor,
  valueAndGrad,
  wasmBackend,
} from 'mobillm/tensor';

const [WIDTH, LAYERS, VOCABULARY, CLASSES, TOKENS] = [64, 4, 256, 4, 12];

const backend = wasmBackend();
setBackend(backend);
installQuant(backend);

// Random weights, so that nothing has to be fetched; `openGgufModel` reads real ones.
const config = {
  ...{ modelType: 'llama', hiddenSize: WIDTH, intermediateSize: 2 * WIDTH, headDim: 16 },
  ...{ numHiddenLayers: LAYERS, numAttentionHeads: 4, numKeyValueHeads: 2, vocabSize: VOCABULARY },
  ...{ maxPositionEmbeddings: 32, rmsNormEps: 1e-5, ropeTheta: 10_000, tieWordEmbeddings: true },
};
const backbone = await loadLlama(config, randomWeightSource(1), 'int8', backend);

/** Taps of `count` texts, a tensor [B, D] a layer, and the classes [B]. */
function batchOf(count: number, rng: Random): { taps: Tensor[]; labels: Tensor } {
  const labels = Int32Array.from({ length: count }, () => rng.int(CLASSES));
  const ids = new Int32Array(count * TOKENS).map(() => CLASSES + rng.int(VOCABULARY - CLASSES));
  labels.forEach((label, b) => {
    ids[b * TOKENS + rng.int(TOKENS)] = label;
  });
  const lengths = new Array(count).fill(TOKENS);
  const taps: Tensor[] = [];
  const last = backbone.forward({ ids, lengths }, (layer, hidden) => {
    if (isRecording()) throw new Error('the backbone runs without a tape');
    if (layer === 0) return; // the embedding, which has seen no other token
    const pooled = poolTaps(hidden.toFloat32(), lengths, WIDTH, ['mean']);
    taps.push(keep(tensor(pooled, [count, WIDTH])));
  });
  last.dispose();
  return { taps, labels: tensor(labels) };
}

const rng = random(2);
const train = Array.from({ length: 40 }, () => batchOf(32, rng));
const test = batchOf(200, rng);

const side = parallelSide(
  { layers: LAYERS, width: WIDTH, kinds: 1, classes: CLASSES },
  { rank: 8 },
);
const lossAndGrads = valueAndGrad((params: ReturnType<typeof side.init>, batch: number) =>
  crossEntropy(side.logits(params, train[batch].taps), train[batch].labels),
);
let params = side.init(rng, backend);
let state = adamwInit(params);
for (let step = 0; step <= 400; step++) {
  const { value, grads } = lossAndGrads(params, step % train.length);
  ({ params, state } = adamwStep(params, grads, state, { learningRate: 1e-2 }));
  if (step % 100 === 0) console.log(`step ${step}: loss ${value.item().toFixed(3)}`);
}
const guessed = argmax(side.logits(params, test.taps)).toArray();
const right = test.labels.toArray().filter((label, b) => label === guessed[b]).length;
console.log(
  `${right} of ${guessed.length} new texts right; ${backbone.weightBytes} bytes of frozen weights never moved`,
);
