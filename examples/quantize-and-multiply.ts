// Packs a matrix in 8 and 4 bits, multiplies by it with integer kernels, and says what that costs.
// npm run example -- quantize-and-multiply
import {
  installQuant,
  kernelVariant,
  linearQuantized,
  packQb4w,
  packQc8w,
  quantizeRows,
} from 'mobillm/quant';
import {
  matmul,
  random,
  randomNormal,
  setBackend,
  type Tensor,
  tensor,
  wasmBackend,
} from 'mobillm/tensor';

const [ROWS, INNER, OUTPUTS] = [16, 576, 1536];

const backend = wasmBackend();
setBackend(backend);
// Probes which integer instructions this engine gets right, and takes the fastest of them.
installQuant(backend);

const rng = random(1);
const weights = randomNormal([OUTPUTS, INNER], 0.05, rng).toFloat32();
const x = randomNormal([ROWS, INNER], 1, rng);

const exact = matmul(x, tensor(weights, [OUTPUTS, INNER]), { transB: true }).toFloat32();

/** |y - exact| / |exact|, over all outputs together. */
function relativeError(y: Tensor): number {
  const [error, size] = y
    .toFloat32()
    .reduce(([e, s], value, i) => [e + (value - exact[i]) ** 2, s + exact[i] ** 2], [0, 0]);
  return Math.sqrt(error / size);
}

console.log(
  `[${ROWS},${INNER}] x [${INNER},${OUTPUTS}] with ${kernelVariant(backend, 'gemmQd8F32Qc8w')}`,
);
console.log(`f32:            ${weights.byteLength} bytes`);
for (const [name, pack] of [
  ['int8 a channel', () => packQc8w(weights, OUTPUTS, INNER, { backend })],
  ['int4 in 32s', () => packQb4w(weights, OUTPUTS, INNER, { backend, groupSize: 32 })],
  ['int4 in 128s', () => packQb4w(weights, OUTPUTS, INNER, { backend, groupSize: 128 })],
] as const) {
  // `using` gives the packed matrix's memory back at the end of the block.
  using packed = pack();
  // Activations are quantized on the fly, a scale a row: int8 x int8 in the inner loop.
  const y = linearQuantized(quantizeRows(x), packed);
  const share = ((100 * packed.byteLength) / weights.byteLength).toFixed(1);
  const error = (100 * relativeError(y)).toFixed(2);
  console.log(`${`${name}:`.padEnd(16)}${packed.byteLength} bytes (${share}%), error ${error}%`);
}
