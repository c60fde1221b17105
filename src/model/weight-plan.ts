import { packedByteLength } from '../quant/index.ts';
import { type Backend, keep, type Tensor, tensor } from '../tensor/index.ts';
import type { WeightPrecision } from './backbone.ts';
import type { LinearWeight } from './nn/linear.ts';
import {
  emptyWeight,
  LayerStream,
  type StreamedEntry,
  StreamedMatrix,
  type WeightReader,
} from './nn/weight-stream.ts';
import {
  INT4_GROUP,
  INT8_GROUP,
  packedFormat,
  packedMatrixBytes,
  packMatrix,
} from './pack-matrix.ts';
import type { StreamedWeights, WeightSource } from './weights/weight-source.ts';

/** A matrix `[rows, columns]` that is held as the precision says. */
export interface MatrixSpec {
  readonly kind: 'matrix';
  readonly shape: readonly [rows: number, columns: number];
}

/** A matrix or vector that is held in f32 whatever the precision. */
export interface PlainSpec {
  readonly kind: 'plain';
  readonly shape: readonly number[];
}

/** All weights that a model asks of its files: a tree with the names of its parameters. */
export interface WeightPlan {
  readonly [name: string]: MatrixSpec | PlainSpec | WeightPlan | readonly WeightPlan[] | undefined;
}

/** The tree of parameters that a plan becomes. */
export type Loaded<Plan> = Plan extends MatrixSpec
  ? LinearWeight
  : Plan extends PlainSpec
    ? Tensor
    : { readonly [Name in keyof Plan]: Loaded<Plan[Name]> };

/** A matrix `[rows, columns]`, packed as the precision says. */
export function matrix(rows: number, columns: number): MatrixSpec {
  return { kind: 'matrix', shape: [rows, columns] };
}

/** A matrix `[rows, columns]` that stays in f32: rows are looked up in it. */
export function table(rows: number, columns: number): PlainSpec {
  return { kind: 'plain', shape: [rows, columns] };
}

/** A vector `[length]`, f32. */
export function vector(length: number): PlainSpec {
  return { kind: 'plain', shape: [length] };
}

/** The same layer `count` times. */
export function layers<Layer extends WeightPlan>(count: number, layer: Layer): Layer[] {
  return Array.from({ length: count }, () => layer);
}

/** Called with matrices done and in all. */
export type LoadProgress = (done: number, total: number) => void;

/** All weights of a plan, each by its path in the tree (`layers.0.qProj`). */
export function* plannedWeights(
  plan: WeightPlan,
  path = '',
): Generator<readonly [name: string, spec: MatrixSpec | PlainSpec]> {
  for (const [key, branch] of Object.entries(plan)) {
    if (isSpec(branch)) yield [`${path}${key}`, branch];
    else if (branch) yield* plannedWeights(branch as WeightPlan, `${path}${key}.`);
  }
}

/**
 * Bytes that the weights take on the backend once loaded, without reading them.
 * @throws FormatError when the source lacks one, or has it in another shape or format
 */
export function plannedBytes(
  plan: WeightPlan,
  source: WeightSource,
  precision: WeightPrecision,
): number {
  let bytes = 0;
  for (const [name, { kind, shape }] of plannedWeights(plan)) {
    const type = source.type(name, shape);
    const [rows, columns = 1] = shape;
    bytes +=
      kind === 'matrix' ? packedMatrixBytes(rows, columns, type, precision) : 4 * rows * columns;
  }
  return bytes;
}

async function loadWeight(
  name: string,
  spec: MatrixSpec | PlainSpec,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
): Promise<LinearWeight> {
  if (source.packed) return source.packed(name, spec.shape, backend);
  if (spec.kind === 'matrix') {
    return packMatrix(await source.matrix(name, ...spec.shape), precision, backend);
  }
  const [rows, columns] = spec.shape;
  const values =
    columns === undefined
      ? await source.vector(name, rows)
      : (await source.matrix(name, rows, columns)).toFloat32();
  return keep(tensor(values, spec.shape, { backend }));
}

/**
 * Takes a model's weights out of their source one by one, so that only one is held twice. When one
 * cannot be had, those before it are given back.
 * @throws FormatError when the source lacks one, or has it in another shape or format
 */
export async function loadPlan<Plan extends WeightPlan>(
  plan: Plan,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<Loaded<Plan>> {
  if (source.streamed) return streamPlan(plan, source, source.streamed, backend);
  const all = [...plannedWeights(plan)];
  const total = all.filter(([, { kind }]) => kind === 'matrix').length;
  const held = new Map<string, LinearWeight>();
  let done = 0;
  try {
    for (const [name, spec] of all) {
      held.set(name, await loadWeight(name, spec, source, precision, backend));
      await source.loaded?.(name, held.get(name) as LinearWeight);
      if (spec.kind === 'matrix') onProgress?.(++done, total);
    }
  } catch (error) {
    for (const weight of held.values()) weight.dispose();
    throw error;
  }
  return grow(plan, held, '') as Loaded<Plan>;
}

/** Vectors and tables in memory, layers and matrices beside them as the source streams them. */
async function streamPlan<Plan extends WeightPlan>(
  plan: Plan,
  source: WeightSource,
  streamed: StreamedWeights,
  backend: Backend,
): Promise<Loaded<Plan>> {
  const { layers: layerPlans, ...others } = plan;
  const held = new Map<string, LinearWeight | StreamedMatrix>();
  try {
    for (const [name, { kind, shape }] of plannedWeights(others)) {
      const weight =
        kind === 'matrix'
          ? streamed.matrix(name, shape, backend)
          : ((await source.packed?.(name, shape, backend)) as LinearWeight);
      held.set(name, weight);
    }
    const names = (layerPlans as readonly WeightPlan[]).map((layer, i) =>
      Array.from(
        plannedWeights(layer, `layers.${i}.`),
        ([name, { shape }]) => [name, shape] as const,
      ),
    );
    const layers = streamed.layers(
      names,
      (i, weights) => grow((layerPlans as readonly WeightPlan[])[i], weights, `layers.${i}`),
      backend,
    );
    return { ...(grow(others, held, '') as object), layers } as unknown as Loaded<Plan>;
  } catch (error) {
    for (const weight of held.values()) weight.dispose();
    throw error;
  }
}

/**
 * Takes a model's weights out of their source one by one, for whom `source.loaded` hands them to;
 * none is held longer.
 * @throws as `loadPlan`
 */
export async function passPlan(
  plan: WeightPlan,
  source: WeightSource,
  precision: WeightPrecision,
  backend: Backend,
  onProgress?: LoadProgress,
): Promise<void> {
  const all = [...plannedWeights(plan)];
  for (const [i, [name, spec]] of all.entries()) {
    const weight = await loadWeight(name, spec, source, precision, backend);
    try {
      await source.loaded?.(name, weight);
    } finally {
      weight.dispose();
    }
    onProgress?.(i + 1, all.length);
  }
}

/**
 * A source of weights that are not read: memory of their sizes, for whom counts it.
 * @throws FormatError when `source` lacks one, or has it in another shape or format
 */
export function emptyWeights(
  plan: WeightPlan,
  source: WeightSource,
  precision: WeightPrecision,
  stream: boolean,
): WeightSource {
  const formats = new Map(
    Array.from(plannedWeights(plan), ([name, { kind, shape }]) => [
      name,
      kind === 'plain' ? 'f32' : packedFormat(source.type(name, shape), precision),
    ]),
  );
  const entryOf = (name: string, shape: readonly number[]): StreamedEntry => {
    const format = formats.get(name) as StreamedEntry['format'];
    const [rows, columns = 1] = shape;
    const bytes =
      format === 'f32'
        ? 4 * rows * columns
        : packedByteLength(format, rows, columns, format === 'qc8w' ? INT8_GROUP : INT4_GROUP);
    // Readers of nothing look at no part; all of the bytes may stand in the first.
    const parts = [{ offset: 0, bytes }, ...Array(2).fill({ offset: 0, bytes: 0 })];
    return { format, shape, parts };
  };
  const reader: WeightReader = { readIntoSync() {}, async close() {} };
  const packed = async (name: string, shape: readonly number[], backend: Backend) =>
    emptyWeight(entryOf(name, shape), backend);
  const streamed: StreamedWeights = {
    matrix: (name, shape, backend) => new StreamedMatrix(entryOf(name, shape), reader, backend),
    layers: (names, growLayer, backend) =>
      new LayerStream(
        names.map((layer) => new Map(layer.map(([name, shape]) => [name, entryOf(name, shape)]))),
        growLayer,
        reader,
        backend,
      ),
  };
  return { ...source, packed, ...(stream && { streamed }) };
}

/** The plan with its weights in their places. */
function grow(plan: unknown, held: ReadonlyMap<string, unknown>, path: string): unknown {
  if (isSpec(plan)) return held.get(path);
  if (typeof plan !== 'object' || plan === null) return undefined;
  const at = (key: string | number) => (path ? `${path}.${key}` : `${key}`);
  if (Array.isArray(plan)) return plan.map((branch, i) => grow(branch, held, at(i)));
  return Object.fromEntries(
    Object.entries(plan).map(([key, branch]) => [key, grow(branch, held, at(key))]),
  );
}

function isSpec(branch: unknown): branch is MatrixSpec | PlainSpec {
  return (
    typeof branch === 'object' && branch !== null && Array.isArray((branch as PlainSpec).shape)
  );
}
