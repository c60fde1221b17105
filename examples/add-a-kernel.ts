// Adds a kernel to the reference backend, makes an operation of it, and measures what fusing saves.
// npm run example -- add-a-kernel
import Benchmark from 'benchmark';
import {
  affine,
  BackendError,
  cpuBackend,
  exp,
  log,
  mul,
  random,
  randomNormal,
  record,
  scope,
  setBackend,
  sigmoid,
  Tensor,
} from 'mobillm/tensor';

/** `out[i] = log(1 + e^x[i])`, i < n. A kernel: memory and integers; it allocates and throws nothing. */
function softplusKernel(out: Float32Array, x: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) out[i] = Math.max(x[i], 0) + Math.log1p(Math.exp(-Math.abs(x[i])));
}

// On `cpu` a handle is a typed array. Another backend would bring its own kernel of this name.
const kernels = { softplus: softplusKernel };
const backend = cpuBackend();
setBackend(backend);

/** The operation: checks, calls the kernel, and hands its derivative to `record`. */
function softplus(x: Tensor): Tensor {
  if (x.backend !== backend || x.dtype !== 'f32')
    throw new BackendError('softplus: f32 on cpu only');
  const out = Tensor.empty(x.shape, 'f32', x.backend);
  kernels.softplus(out.handle, x.handle, x.numel);
  return record(out, [x], (dy) => [mul(dy, sigmoid(x))]);
}

/** The same from operations that are there: three passes over memory instead of one. */
const composed = (x: Tensor) => log(affine(exp(x), 1, 1));

const x = randomNormal([64, 1024], 1, random(1));

// First that both say the same: a fast wrong kernel is of no use.
const [fused, plain] = [softplus(x).toFloat32(), composed(x).toFloat32()];
const apart = fused.reduce((most, value, i) => Math.max(most, Math.abs(value - plain[i])), 0);
if (apart > 1e-6) throw new Error(`softplus differs from its composition by ${apart}`);
console.log(`kernel = composition within ${apart.toExponential(1)} on ${x.numel} elements`);

let checksum = 0;
const suite = new Benchmark.Suite();
for (const [name, run] of Object.entries({ kernel: softplus, composition: composed })) {
  // What nobody reads may be optimized away.
  const fn = () =>
    scope(() => {
      checksum += (run(x).handle as Float32Array)[0];
    });
  suite.add(name, fn, { maxTime: 0.3 });
}
suite.run({ async: false });
const [a, b] = suite.map((one: Benchmark) => x.numel / one.stats.mean / 1e6);
console.log(
  `kernel ${a.toFixed(0)} and composition ${b.toFixed(0)} million elements a second: ${(a / b).toFixed(2)} times`,
);
if (!Number.isFinite(checksum)) throw new Error('not finite');
