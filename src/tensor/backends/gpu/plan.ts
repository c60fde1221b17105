import type { CompiledStep } from '../../backend.ts';
import { BackendError } from '../../errors.ts';
import { keep, scope } from '../../scope.ts';
import type { Tensor } from '../../tensor.ts';
import { leaves } from '../../tree.ts';
import { flatResult, type GpuJsKernel, type GpuJsPipeline, type Rows } from './gpu-js.ts';
import type { GpuRuntime } from './runtime.ts';
import type { Launch, Piece, Value } from './value.ts';

/*
 * A compiled step is traced anew at every call, which is JavaScript alone: it gives the launches,
 * none of which has run, and the numbers that go into them. What makes a plan is which kernels
 * there are and what feeds them; numbers (a learning rate, a bias correction) are arguments of it.
 * So a step may compute them as it likes, and a plan made for other numbers is never used for what
 * does not fit it.
 */

/** Plans kept for one step: one for each size of batch, and the last one's. */
const PLANS_KEPT = 4;

/** What feeds an operand: a launch of the plan, or a value from outside. */
type Source = { readonly launch: number } | { readonly leaf: number };

/** A traced step. */
interface Trace {
  readonly launches: readonly Launch[];
  readonly operands: readonly (readonly Source[])[];
  /** For each launch, which of `scalars` it takes. */
  readonly slots: readonly (readonly number[])[];
  readonly leaves: readonly Value[];
  readonly scalars: readonly number[];
  /** Launches whose values are given back. */
  readonly results: readonly number[];
  /** Equal for traces that one plan computes. */
  readonly key: string;
}

interface Plan {
  readonly pipeline: GpuJsPipeline;
  readonly kernels: readonly GpuJsKernel[];
}

/**
 * See `Backend.compile`, where gpu.js has no plan better than its kernels one by one (WebGL 2): a plan
 * would compile shaders of its own, and these are kept for all calls.
 */
export function stepKernels<A extends readonly unknown[], R>(
  runtime: GpuRuntime,
  step: (...args: A) => R,
): CompiledStep<A, R> {
  const call = async (...args: A): Promise<R> => {
    const result = keep(scope(() => step(...args)));
    const given = new Set(leaves(args));
    try {
      for (const leaf of leaves(result)) await runtime.readAsync(heldBy(runtime, leaf));
    } catch (error) {
      for (const leaf of leaves(result)) if (!given.has(leaf)) leaf.dispose();
      throw error;
    }
    return result;
  };
  return Object.assign(call, {
    executor: 'kernels',
    fallbackReason: `gpu.js fuses no kernels on ${runtime.mode}`,
    plans: 0,
    destroy: async () => {},
  });
}

/** See `Backend.compile`. */
export function compileStep<A extends readonly unknown[], R>(
  runtime: GpuRuntime,
  step: (...args: A) => R,
): CompiledStep<A, R> {
  const plans = new Map<string, Plan>();
  let executor: string | null = null;
  let fallbackReason: string | null = null;
  let compiled = 0;

  const planFor = async (trace: Trace): Promise<Plan> => {
    let plan = plans.get(trace.key);
    if (plan) plans.delete(trace.key);
    else {
      plan = makePlan(runtime, trace);
      compiled++;
    }
    plans.set(trace.key, plan); // the most recently used is the last
    if (plans.size > PLANS_KEPT) {
      const [[oldest, unused]] = plans;
      plans.delete(oldest);
      await destroyPlan(runtime, unused);
    }
    return plan;
  };

  /** Runs what gives the tensors of `results` their numbers, as one plan. */
  const compute = async (launches: readonly Launch[], results: readonly Tensor[]) => {
    const wanted = results.map((leaf) => heldBy(runtime, leaf));
    const trace = describe(runtime, launches, wanted);
    if (trace.results.length > 0) {
      const inputs: unknown[] = [];
      for (const leaf of trace.leaves) inputs.push(runtime.input(await runtime.readAsync(leaf)));
      const { pipeline } = await planFor(trace);
      const outputs = (await pipeline(...inputs, ...trace.scalars)) as (Float32Array | Rows)[];
      expectMode(runtime, pipeline);
      runtime.expectNoFault();
      ({ executorKind: executor, fallbackReason } = pipeline);
      trace.results.forEach((index, i) => {
        const launch = trace.launches[index];
        const host = flatResult(outputs[i], launch.output.numel);
        runtime.take(launch.output, host);
        runtime.settled(launch, host);
      });
    }
  };

  const call = async (...args: A): Promise<R> => {
    // What the step may look at while it is traced has to be here.
    const given = new Set(leaves(args));
    for (const leaf of given) await runtime.readAsync(heldBy(runtime, leaf));
    const { result, launches } = runtime.trace(() => keep(scope(() => step(...args))));
    try {
      await compute(launches, leaves(result));
    } catch (error) {
      for (const leaf of leaves(result)) if (!given.has(leaf)) leaf.dispose();
      throw error;
    }
    // What somebody else still holds of the step's own values is computed when it is asked for.
    runtime.enqueue(launches.filter((launch) => launch.output.launch === launch));
    return result;
  };

  return Object.defineProperties(call, {
    executor: { get: () => executor },
    fallbackReason: { get: () => fallbackReason },
    plans: { get: () => compiled },
    destroy: {
      value: async () => {
        for (const plan of plans.values()) await destroyPlan(runtime, plan);
        plans.clear();
      },
    },
  }) as unknown as CompiledStep<A, R>;
}

function heldBy(runtime: GpuRuntime, leaf: Tensor): Value {
  return runtime.held(leaf.handle as Piece);
}

/** The launches that `wanted` needs, in order, and what a plan for them is known by. */
function describe(runtime: GpuRuntime, all: readonly Launch[], wanted: readonly Value[]): Trace {
  const needed = new Set<Value>(wanted);
  for (const launch of [...all].reverse()) {
    if (needed.has(launch.output)) for (const input of launch.inputs) needed.add(input);
  }
  const launches = all.filter(({ output }) => needed.has(output));
  const indexOf = new Map(launches.map((launch, i) => [launch.output, i]));
  const outside = new Map<Value, number>();
  const slotOf = new Map<string, number>();
  const scalars: number[] = [];
  const operands = launches.map(({ inputs }) =>
    inputs.map((input): Source => {
      const launch = indexOf.get(input);
      if (launch !== undefined) return { launch };
      const leaf = outside.get(input) ?? outside.size;
      outside.set(input, leaf);
      return { leaf };
    }),
  );
  // One argument for a number that stands at the same place of the same kernel several times: a
  // module of its own is made for each kernel and combination of arguments.
  const slots = launches.map((launch) =>
    launch.scalars.map((scalar, place) => {
      const name = `${runtime.sourceId(launch.source)} ${place} ${scalar}`;
      const slot = slotOf.get(name) ?? scalars.push(scalar) - 1;
      slotOf.set(name, slot);
      return slot;
    }),
  );
  const results = [...new Set(wanted.map((value) => indexOf.get(value)))].filter(
    (index) => index !== undefined,
  );
  const key = JSON.stringify([
    launches.map((launch) => runtime.keyOf(launch)),
    operands.map((list) => list.map((source) => Object.entries(source)[0])),
    slots,
    results,
  ]);
  return { launches, operands, slots, leaves: [...outside.keys()], scalars, results, key };
}

/** Records the launches of a trace into one pipeline of gpu.js. */
function makePlan(runtime: GpuRuntime, trace: Trace): Plan {
  const kernels = new Map<string, GpuJsKernel>();
  const calls = trace.launches.map((launch, i) => {
    const key = runtime.keyOf(launch);
    let kernel = kernels.get(key);
    if (!kernel) {
      kernel = runtime.createKernel(launch);
      kernels.set(key, kernel);
    }
    return { kernel, operands: trace.operands[i], slots: trace.slots[i] };
  });
  const { leaves: outside, results, scalars } = trace;
  const orchestrate = (...handles: readonly unknown[]) => {
    const made: unknown[] = [];
    for (const { kernel, operands, slots } of calls) {
      const inputs = operands.map((source) =>
        'launch' in source ? made[source.launch] : handles[source.leaf],
      );
      made.push(kernel(...inputs, ...slots.map((slot) => handles[outside.length + slot])));
    }
    return results.map((index) => made[index]);
  };
  // gpu.js makes as many handles as the function says it has arguments.
  Object.defineProperty(orchestrate, 'length', { value: outside.length + scalars.length });
  // No threads: on webasm gpu.js would start a pool of workers for every plan.
  const pipeline = runtime.gpu.createPipeline(orchestrate, { threads: false });
  return { pipeline, kernels: [...kernels.values()] };
}

async function destroyPlan(runtime: GpuRuntime, { pipeline, kernels }: Plan): Promise<void> {
  await pipeline.destroy();
  runtime.destroyKernels(kernels);
}

/** @throws BackendError when the plan ran elsewhere than it was meant to */
function expectMode({ mode }: GpuRuntime, { backend, fallbackReason }: GpuJsPipeline): void {
  if (backend !== mode) {
    throw new BackendError(`compile: the plan ran on ${backend}, not ${mode}: ${fallbackReason}`);
  }
}
