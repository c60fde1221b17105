// The side network's train step in TensorFlow.js, on its WebAssembly backend with one thread.
import type { StepShape } from '../server-shapes.ts';
import type { StepData } from '../server-steps.ts';
import { importPeer, peerVersion } from './installed.ts';
import { HYPER, type StepEngine, secondsOf } from './server-engine.ts';

/** What is used of @tensorflow/tfjs, typed as loosely as that takes. */
interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}
interface TfVariable extends TfTensor {
  assign(value: TfTensor): void;
}
type Operand = TfTensor | number;
interface Tf {
  setBackend(name: string): Promise<boolean>;
  getBackend(): string;
  tidy<T>(body: () => T): T;
  tensor2d(values: Float32Array, shape: readonly number[]): TfTensor;
  tensor(values: Float32Array, shape: readonly number[]): TfTensor;
  variable(start: TfTensor): TfVariable;
  variableGrads(
    loss: () => TfTensor,
    of: readonly TfVariable[],
  ): { value: TfTensor; grads: Record<string, TfTensor> };
  train: { adam(rate: number, beta1: number, beta2: number, eps: number): TfAdam };
  [op: string]: unknown;
}
interface TfAdam {
  learningRate: number;
  applyGradients(grads: Record<string, TfTensor>): void;
  dispose(): void;
}
type Op = (...operands: readonly unknown[]) => TfTensor;

/** Parameters' shapes by their paths. */
function shapeOf(path: string, { layers, width, rank, classes, head }: StepShape): number[] {
  if (path.startsWith('down')) return [width, rank];
  if (path.startsWith('up')) return [rank, width];
  if (path === 'alpha') return [layers];
  if (path === 'beta') return [1];
  return path === 'head.bias' ? [classes] : [classes, head === 'dense' ? layers * width : width];
}

let ready: Promise<Tf> | undefined;

async function start(): Promise<Tf> {
  const tf = await importPeer<Tf>('@tensorflow/tfjs');
  const wasm = await importPeer<{ setThreadsCount(count: number): void }>(
    '@tensorflow/tfjs-backend-wasm',
  );
  wasm.setThreadsCount(1);
  if (!(await tf.setBackend('wasm')) || tf.getBackend() !== 'wasm') {
    throw new Error('tfjs: its wasm backend does not start');
  }
  return tf;
}

/** The engine, at the start of its training. */
export async function tfjsEngine(shape: StepShape, data: StepData): Promise<StepEngine> {
  ready ??= start();
  const tf = await ready;
  const op = (name: string) => tf[name] as Op;
  const { layers, width, rows, classes, head } = shape;
  const variables = new Map(
    [...data.params].map(([path, values]) => [
      path,
      tf.variable(tf.tensor(values, shapeOf(path, shape))),
    ]),
  );
  const at = (path: string) => variables.get(path) as TfVariable;
  const { labelSmoothing, weightDecay, maxGradNorm, beta1, beta2, adamEps, rmsEps } = HYPER;
  const adam = tf.train.adam(1e-3, beta1, beta2, adamEps);
  const add = op('add');
  const mul = op('mul');
  const blend = (a: TfTensor, b: TfTensor, g: Operand) => add(a, mul(op('sub')(b, a), g));
  const gelu = (x: TfTensor) => mul(mul(x, 0.5), add(op('erf')(mul(x, Math.SQRT1_2)), 1));
  const rms = (x: TfTensor) =>
    mul(x, op('rsqrt')(add(op('mean')(op('square')(x), -1, true), rmsEps)));
  const targets = new Float32Array(rows * classes).fill(labelSmoothing / classes);
  data.labels.forEach((label, i) => {
    targets[i * classes + label] += 1 - labelSmoothing;
  });
  const lossOf = (taps: readonly TfTensor[], wanted: TfTensor) => {
    const mu = op('sigmoid')(at('alpha'));
    const gate = op('sigmoid')(at('beta'));
    const states: TfTensor[] = [];
    let s = taps[0];
    for (let i = 0; i < layers; i++) {
      const x = i === 0 ? s : blend(taps[i], s, op('slice')(mu, [i], [1]));
      s = add(x, op('matMul')(gelu(op('matMul')(x, at(`down.${i}`))), at(`up.${i}`)));
      if (head === 'dense' || i === layers - 1) states.push(rms(blend(taps[i], s, gate)));
    }
    const features = head === 'dense' ? mul(op('concat')(states, 1), layers ** -0.5) : states[0];
    const logits = add(op('matMul')(features, at('head.weight'), false, true), at('head.bias'));
    return op('neg')(op('mean')(op('sum')(mul(wanted, op('logSoftmax')(logits)), 1)));
  };
  let done = 0;
  const step = () =>
    tf.tidy(() => {
      const taps = data.taps.map((values) => tf.tensor2d(values, [rows, width]));
      const wanted = tf.tensor2d(targets, [rows, classes]);
      const { value, grads } = tf.variableGrads(
        () => lossOf(taps, wanted),
        [...variables.values()],
      );
      const squares = Object.values(grads).map((grad) => op('sum')(op('square')(grad)));
      const norm = op('sqrt')(op('addN')(squares));
      const scale = op('minimum')(op('div')(maxGradNorm, add(norm, 1e-6)), 1);
      const clipped = Object.fromEntries(
        Object.entries(grads).map(([name, grad]) => [name, mul(grad, scale)]),
      );
      const rate = HYPER.rateAt(done++);
      for (const [path, variable] of variables) {
        if (path === 'alpha' || path === 'beta' || path === 'head.bias') continue;
        variable.assign(mul(variable, 1 - rate * weightDecay));
      }
      adam.learningRate = rate;
      adam.applyGradients(clipped);
      return { loss: value.dataSync()[0], gradNorm: norm.dataSync()[0] };
    });
  return {
    engine: 'tfjs',
    variant: `tfjs-backend-wasm ${peerVersion('@tensorflow/tfjs-backend-wasm')}, 1 thread`,
    step,
    seconds: (steps) => secondsOf(steps, step),
    dispose() {
      adam.dispose();
      for (const variable of variables.values()) variable.dispose();
    },
  };
}
