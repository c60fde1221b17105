import {
  type AdamWState,
  createSideModel,
  decodeSample,
  type SideModel,
  sampleBytes,
  tapTensors,
} from '../model/index.ts';
import { monotonicMs } from '../platform/clock.ts';
import {
  type Backend,
  disposeTree,
  keep,
  mul,
  ProtocolError,
  random,
  scope,
  sum,
  type Tensor,
  type Tree,
  tensor,
  valueAndGrad,
} from '../tensor/index.ts';
import type { GradsMessage, Split, StatesMessage, TokenRun } from '../transport/index.ts';
import { fitOfValues, treeOfValues, valuesOfFit } from './fit-values.ts';
import type { RowScore } from './objective.ts';
import { tokenOfLabel } from './received-rows.ts';
import { addTrees, sideUpdate, stepDropout } from './side-step.ts';
import type {
  EngineJob,
  EnginePart,
  ScoresCall,
  StepEngine,
  StepsCall,
  StepsResult,
} from './step-engine.ts';

/** What the device is asked: STATES without its type. */
export type LossRequest = Omit<StatesMessage, 'type'>;

/** What it answers: GRADS without its type. */
export type LossAnswer = Omit<GradsMessage, 'type'>;

/**
 * Parts of a step that are on their way at once: while the device computes one, others travel to it
 * and back. All belong to one step, so none is computed from parameters that are out of date.
 */
const PARTS_UNDER_WAY = 4;

/** A request without an answer yet. */
interface Due {
  readonly part: number;
  /** Numbers of the gradient that is wanted, 0 for none. */
  readonly numel: number;
  resolve(answer: LossAnswer): void;
  reject(error: Error): void;
}

/**
 * Training where the labels stay on the device: the side network runs here, the output head and the
 * loss there. A part of a batch goes there as the side network's states and comes back as their
 * gradient, from which the way back through the side network goes on: the gradients, and so the
 * adapter, are those of a server that has the labels.
 */
export class DeviceLossEngine implements StepEngine {
  readonly description: string;
  /** The device computes a step in seconds, and each is to be seen. */
  readonly stepsACall = 1;
  /** Sends a part to the device; set by whoever can. */
  ask: (request: LossRequest, startMs: number, endMs: number) => void = () => {};
  private readonly backend: Backend;
  private job: EngineJob | undefined;
  private readonly models = new Map<string, { model: SideModel; form: Tree }>();
  private parts = 0;
  private computedMs = 0;
  private forwardMs = 0;
  private readonly due: Due[] = [];

  constructor(backend: Backend, description: string) {
    this.backend = backend;
    this.description = description;
  }

  async begin(job: EngineJob): Promise<void> {
    this.job = job;
  }

  async useHead(): Promise<void> {
    throw new ProtocolError('job: its labels stay on the device, and so does its head', 'E_JOB');
  }

  /**
   * Takes an answer of the device, which come in the order of the requests.
   * @throws ProtocolError (E_JOB) for another part, or one of another size
   */
  answer(answer: LossAnswer): void {
    const { part, width, gradient } = answer;
    const [due] = this.due;
    if (due?.part !== part) {
      throw new ProtocolError(
        `grads: of part ${part}, ${due ? `${due.part} is due` : 'none is due'}`,
        'E_JOB',
      );
    }
    const { shape } = this.running;
    if (width !== shape.width || gradient.length !== due.numel) {
      throw new ProtocolError(
        `grads: part ${part}: ${gradient.length} numbers of width ${width}, ${due.numel} of ${shape.width} are due`,
        'E_JOB',
      );
    }
    this.due.shift();
    due.resolve(answer);
  }

  /**
   * Milliseconds computed since it was last asked: on the way forward, which `ask` has told of, and
   * on the way back.
   */
  takeMs(): { forward: number; back: number } {
    const { forwardMs: forward, computedMs: back } = this;
    this.forwardMs = 0;
    this.computedMs = 0;
    return { forward, back };
  }

  /** No answer will come any more. */
  abort(): void {
    const error = new ProtocolError(
      'training: the device left in the middle of a step',
      'E_CLOSED',
    );
    for (const { reject } of this.due.splice(0)) reject(error);
  }

  async steps({ model: name, from, standardizer, ...call }: StepsCall): Promise<StepsResult> {
    const { model, form } = this.model(name);
    const { seed, weightDecay, maxGradNorm } = this.running.options;
    const { params, ...state } = fitOfValues(form, from, this.backend);
    let at = { params, state };
    const losses = new Float32Array(call.batches.length);
    const gradNorms = new Float32Array(call.batches.length);
    try {
      for (const [i, parts] of call.batches.entries()) {
        const dropout = stepDropout(model, seed, at.state.step);
        const tapsOf = (part: EnginePart) =>
          keep(
            tapTensors(
              this.samples(part),
              ...([this.running.shape, standardizer, this.backend, dropout] as const),
            ),
          );
        const { loss, grads } = await this.gradients(model, at.params, parts, tapsOf);
        losses[i] = loss;
        const before = at;
        const startMs = monotonicMs();
        try {
          const next = scope(() => {
            const options = { weightDecay, maxGradNorm, learningRate: call.learningRates[i] };
            const { gradNorm, ...updated } = sideUpdate(model, before, grads, options);
            gradNorms[i] = gradNorm.item();
            return updated as { params: Tree; state: AdamWState<Tree> };
          });
          at = next;
        } finally {
          disposeTree(grads);
          this.computedMs += monotonicMs() - startMs;
        }
        disposeTree([before.params, before.state.m, before.state.v]);
      }
      const to = valuesOfFit({ params: at.params, ...at.state });
      return { to, losses, gradNorms };
    } finally {
      disposeTree([at.params, at.state.m, at.state.v]);
    }
  }

  async scores({ model: name, standardizer, ...call }: ScoresCall): Promise<readonly RowScore[]> {
    const { model, form } = this.model(name);
    const params = treeOfValues(form, call.params, this.backend);
    const { shape } = this.running;
    try {
      const asked = call.parts.map((part) => {
        const startMs = monotonicMs();
        const states = scope(() => {
          const taps = tapTensors(this.samples(part), shape, standardizer, this.backend);
          return model.logits(params, taps).toFloat32();
        });
        return this.request('valid', part, states, part.labels.length, startMs);
      });
      const answers = await Promise.all(asked);
      // Of a part's tokens the device tells the sum alone; their mean is the same.
      return call.parts.flatMap(({ labels }, i) =>
        labels.map(() => ({ loss: answers[i].loss / labels.length })),
      );
    } finally {
      disposeTree(params);
    }
  }

  async peakBytes(): Promise<number> {
    return this.backend.memory().peakBytes;
  }

  async close(): Promise<void> {
    this.abort();
    for (const { form } of this.models.values()) disposeTree(form);
    this.models.clear();
  }

  /** Mean loss of a step and its gradients, part by part as the device answers. */
  private async gradients(
    model: SideModel,
    params: Tree,
    parts: readonly EnginePart[],
    tapsOf: (part: EnginePart) => Tensor[],
  ): Promise<{ loss: number; grads: Tree }> {
    const { width } = this.running.shape;
    const tokens = parts.reduce((n, { labels }) => n + labels.length, 0);
    const sent: { taps: Tensor[]; answer: Promise<LossAnswer> }[] = [];
    let grads: Tree | undefined;
    let loss = 0;
    try {
      for (const p of parts.keys()) {
        while (sent.length < Math.min(parts.length, p + PARTS_UNDER_WAY)) {
          const part = parts[sent.length];
          const startMs = monotonicMs();
          const taps = tapsOf(part);
          const states = scope(() => model.logits(params, taps).toFloat32());
          const answer = this.request('train', part, states, tokens, startMs);
          // Seen when it is its turn; until then it must not count as unhandled.
          answer.catch(() => {});
          sent.push({ taps, answer });
        }
        const { taps, answer } = sent[p];
        const given = await answer;
        // As f32 kernels add them up.
        loss = Math.fround(loss + given.loss);
        const startMs = monotonicMs();
        const before = grads;
        grads = scope(() => {
          const shape = [parts[p].labels.length, width];
          const gradient = tensor(given.gradient, shape, { backend: this.backend });
          // d sum(h g) / dh = g: the rest of the way back is that of any loss.
          const back = valueAndGrad((at: Tree) => sum(mul(model.logits(at, taps), gradient)));
          const next = back(params).grads;
          return before ? addTrees(before, next) : next;
        });
        disposeTree(before);
        disposeTree(taps);
        sent[p].taps = [];
        this.computedMs += monotonicMs() - startMs;
      }
      return { loss, grads: grads as Tree };
    } catch (error) {
      disposeTree(grads);
      throw error;
    } finally {
      for (const { taps } of sent) disposeTree(taps);
    }
  }

  private request(
    split: Split,
    { labels }: EnginePart,
    states: Float32Array,
    tokens: number,
    startMs: number,
  ): Promise<LossAnswer> {
    const endMs = monotonicMs();
    this.forwardMs += endMs - startMs;
    const { width } = this.running.shape;
    // Validation rows give a loss alone.
    const gradient = split === 'train';
    const part = this.parts++;
    const numel = gradient ? states.length : 0;
    if (!states.every(Number.isFinite)) {
      // As a loss over them would be; who gets it ends the job.
      const none = new Float32Array(numel);
      return Promise.resolve({ part, width, loss: Number.NaN, gradient: none });
    }
    const answer = new Promise<LossAnswer>((resolve, reject) => {
      this.due.push({ part, numel, resolve, reject });
    });
    const runs = runsOf(labels);
    this.ask({ part, split, gradient, tokens, runs, width, states }, startMs, endMs);
    return answer;
  }

  private samples({ records, labels }: EnginePart): Float32Array[] {
    const { shape, codec } = this.running;
    const bytes = sampleBytes(shape, codec.bits);
    return labels.map((_, i) =>
      decodeSample(records.subarray(i * bytes, (i + 1) * bytes), shape, codec),
    );
  }

  private model(name: string): { model: SideModel; form: Tree } {
    let found = this.models.get(name);
    if (!found) {
      const { shape, options } = this.running;
      const model = createSideModel(name, shape, options);
      found = { model, form: keep(model.init(random(0), this.backend)) };
      this.models.set(name, found);
    }
    return found;
  }

  private get running(): EngineJob {
    if (!this.job) throw new ProtocolError('grads: no job is under way', 'E_JOB');
    return this.job;
  }
}

/** Tokens that stand in for labels, neighbours of one row together. */
function runsOf(labels: readonly number[]): TokenRun[] {
  const runs: { row: number; first: number; count: number }[] = [];
  for (const label of labels) {
    const { row, token } = tokenOfLabel(label);
    const last = runs.at(-1);
    if (last && last.row === row && last.first + last.count === token) last.count++;
    else runs.push({ row, first: token, count: 1 });
  }
  return runs;
}
