// onnxruntime-web (WebAssembly) and onnxruntime-node (native) as contenders, through the operators that
// their own quantization tools write into models.
import { importPeer } from './installed.ts';
import { type Constant, type Graph, type Node, onnxModel, type Port } from './onnx-model.ts';
import type { Engine, Format, Problem } from './problem.ts';

interface OrtTensor {
  readonly data: ArrayLike<number>;
  dispose(): void;
}

interface Session {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

/** What we use of either package. */
interface Ort {
  readonly env: { readonly wasm: { numThreads: number }; logLevel: string };
  readonly Tensor: new (
    type: string,
    data: Float32Array | Int8Array,
    dims: readonly number[],
  ) => OrtTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Record<string, unknown>): Promise<Session>;
  };
}

/** The packages by name. */
export type OrtPackage = 'onnxruntime-web' | 'onnxruntime-node';

/** One thread, everything the optimizer can do, weights packed when the session is made. */
const SESSION = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  graphOptimizationLevel: 'all',
  executionMode: 'sequential',
};

async function load(name: OrtPackage): Promise<Ort> {
  const module = await importPeer<Ort & { default?: Ort }>(name);
  const ort = module.InferenceSession ? module : (module.default as Ort);
  ort.env.logLevel = 'error';
  if (name === 'onnxruntime-web') ort.env.wasm.numThreads = 1;
  return ort;
}

/** One way to write a product into a model. */
interface Recipe {
  readonly variant: string;
  readonly format: Format;
  graph(problem: Problem): Pick<Graph, 'nodes' | 'constants'>;
}

/** w [N,K] as [K,N], which is how MatMul wants it. */
function transposed({ k, n, w }: Problem): Float32Array {
  const out = new Float32Array(w.length);
  for (let j = 0; j < n; j++) for (let i = 0; i < k; i++) out[i * n + j] = w[j * k + i];
  return out;
}

/** 8 bits an output channel, symmetric, [K,N]: what `quantize_dynamic(per_channel=True)` makes. */
function int8Columns({ k, n, w }: Problem): { weight: Int8Array; scales: Float32Array } {
  const [weight, scales] = [new Int8Array(k * n), new Float32Array(n)];
  for (let j = 0; j < n; j++) {
    const row = w.subarray(j * k, (j + 1) * k);
    scales[j] = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    for (let i = 0; i < k; i++) weight[i * n + j] = Math.round(row[i] / scales[j]);
  }
  return { weight, scales };
}

/** Blocks of K in 4 or 8 bits around the middle code: what MatMulNBits stores, [N, K/block, bytes]. */
function blocks(
  { k, n, w }: Problem,
  bits: 4 | 8,
  size: number,
): { weight: Uint8Array; scales: Float32Array } {
  const middle = 2 ** (bits - 1);
  const perRow = Math.ceil(k / size);
  const weight = new Uint8Array((n * perRow * size * bits) / 8);
  const scales = new Float32Array(n * perRow);
  for (let j = 0; j < n; j++) {
    for (let b = 0; b < perRow; b++) {
      const block = w.subarray(j * k + b * size, j * k + Math.min(k, (b + 1) * size));
      // The largest value gets the lowest code, which has one step more than the highest.
      const most = block.reduce((a, value) => (Math.abs(value) > Math.abs(a) ? value : a), 0);
      const scale = most / -middle;
      scales[j * perRow + b] = scale;
      block.forEach((value, i) => {
        const code = Math.min(2 * middle - 1, Math.max(0, Math.round(value / scale) + middle));
        const at = (j * perRow + b) * size + i;
        if (bits === 8) weight[at] = code;
        else weight[at >> 1] |= code << (at & 1 ? 4 : 0);
      });
    }
  }
  return { weight, scales };
}

const MICROSOFT = 'com.microsoft';

const constant = (name: string, dims: readonly number[], data: Constant['data']): Constant => ({
  name,
  dims,
  data,
});

function nBits(bits: 4 | 8, size: number, level: number): Recipe {
  return {
    // Level 4: activations are quantized to int8 as well; 0: the weights are dequantized to f32.
    variant: `MatMulNBits ${bits} bits, groups of ${size}, accuracy_level ${level}`,
    format: bits === 8 ? 'int8' : 'int4',
    graph(problem) {
      const { k, n } = problem;
      const { weight, scales } = blocks(problem, bits, size);
      const perRow = Math.ceil(k / size);
      return {
        constants: [
          constant('w', [n, perRow, (size * bits) / 8], weight),
          constant('scales', [n * perRow], scales),
        ],
        nodes: [
          {
            op: 'MatMulNBits',
            domain: MICROSOFT,
            inputs: ['x', 'w', 'scales'],
            outputs: ['y'],
            attributes: { K: k, N: n, bits, block_size: size, accuracy_level: level },
          },
        ],
      };
    },
  };
}

const RECIPES: readonly Recipe[] = [
  {
    variant: 'MatMul',
    format: 'f32',
    graph: (problem) => ({
      constants: [constant('w', [problem.k, problem.n], transposed(problem))],
      nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
    }),
  },
  {
    variant: 'DynamicQuantizeMatMul',
    format: 'int8',
    graph(problem) {
      const { weight, scales } = int8Columns(problem);
      return {
        constants: [
          constant('w', [problem.k, problem.n], weight),
          constant('scales', [problem.n], scales),
        ],
        nodes: [
          {
            op: 'DynamicQuantizeMatMul',
            domain: MICROSOFT,
            inputs: ['x', 'w', 'scales'],
            outputs: ['y'],
          },
        ],
      };
    },
  },
  {
    variant: 'DynamicQuantizeLinear, MatMulInteger, Cast, Mul',
    format: 'int8',
    graph(problem) {
      const { weight, scales } = int8Columns(problem);
      const chain: Node[] = [
        { op: 'DynamicQuantizeLinear', inputs: ['x'], outputs: ['q', 'xs', 'xz'] },
        { op: 'MatMulInteger', inputs: ['q', 'w', 'xz'], outputs: ['i'] },
        { op: 'Cast', inputs: ['i'], outputs: ['f'], attributes: { to: 1 } },
        { op: 'Mul', inputs: ['xs', 'scales'], outputs: ['s'] },
        { op: 'Mul', inputs: ['f', 's'], outputs: ['y'] },
      ];
      return {
        constants: [
          constant('w', [problem.k, problem.n], weight),
          constant('scales', [problem.n], scales),
        ],
        nodes: chain,
      };
    },
  },
  nBits(8, 32, 4),
  nBits(4, 32, 0),
  nBits(4, 32, 4),
  nBits(4, 128, 4),
];

/** A session over a recipe, ready to run. */
async function engineOf(name: OrtPackage, recipe: Recipe, problem: Problem): Promise<Engine> {
  const ort = await load(name);
  const { m, k, n, x } = problem;
  const inputs: Port[] = [{ name: 'x', element: 'float32', dims: [m, k] }];
  const outputs: Port[] = [{ name: 'y', element: 'float32', dims: [m, n] }];
  const model = onnxModel({ ...recipe.graph(problem), inputs, outputs });
  const executionProviders = [name === 'onnxruntime-web' ? 'wasm' : 'cpu'];
  const session = await ort.InferenceSession.create(model, { ...SESSION, executionProviders });
  return {
    engine: name,
    variant: recipe.variant,
    format: recipe.format,
    async run() {
      const { y } = await session.run({ x: new ort.Tensor('float32', x, [m, k]) });
      return y.data;
    },
    dispose: () => session.release(),
  };
}

/** Every operator that this package has for a format; those it refuses are named in `refused`. */
export async function ortEngines(
  name: OrtPackage,
  problem: Problem,
  format: Format,
  refused: (variant: string, why: string) => void,
): Promise<Engine[]> {
  const engines: Engine[] = [];
  for (const recipe of RECIPES.filter((one) => one.format === format)) {
    try {
      engines.push(await engineOf(name, recipe, problem));
    } catch (error) {
      refused(`${name} ${recipe.variant}`, (error as Error).message);
    }
  }
  return engines;
}
