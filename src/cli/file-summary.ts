import {
  folderDialogue,
  folderTokenizer,
  type GgufFile,
  type GgufValue,
  type HfFolder,
  type ModelFamily,
  modelOfFolder,
  modelOfGguf,
  type SafetensorsFile,
  type StoredModel,
  tokenizerFromGguf,
  type WeightPrecision,
} from '../model/index.ts';
import { MobillmError, numelOf } from '../tensor/index.ts';

/** Elements of an array that a summary shows. */
const SHOWN_ITEMS = 8;

/** A metadata value fit for JSON; an array is summarised, a 64-bit number is its digits. */
export type MetadataValue =
  | string
  | number
  | boolean
  | null
  | { readonly length: number; readonly first: readonly MetadataValue[] };

/** A tensor of a file: shape outermost first, bytes as stored. */
export interface TensorSummary {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** What stands in a model's files, and what mobillm would make of it. */
export interface FileSummary {
  readonly format: 'gguf' | 'safetensors' | 'folder';
  /** Of the format; null where it has none. */
  readonly version: number | null;
  /** As the file names it; null where it does not. */
  readonly architecture: string | null;
  readonly metadata: Readonly<Record<string, MetadataValue>>;
  /** Elements of all tensors. */
  readonly parameters: number;
  /** Largest share of the bytes first. */
  readonly types: readonly {
    readonly type: string;
    readonly tensors: number;
    readonly parameters: number;
    readonly bytes: number;
  }[];
  readonly tensors: readonly TensorSummary[];
  /** Whether it runs here; otherwise every reason found, by error code. */
  readonly runs: {
    readonly supported: boolean;
    readonly reasons: readonly { readonly code: string; readonly message: string }[];
  };
  /** Its sizes; null where the architecture is not built in, or is none. */
  readonly model: {
    readonly family: ModelFamily;
    readonly layers: number;
    readonly hiddenSize: number;
    readonly vocabSize: number;
    readonly contextLength: number;
    /** Bytes that a token takes in a cache, for generating and few-shot prefixes; 0 of an encoder. */
    readonly cacheBytesPerToken: number;
  } | null;
  /** Whether `generate --chat` finds how to word a conversation. */
  readonly chatTemplate: boolean;
  /** Bytes of the loaded weights under each `--precision`; null where they cannot be loaded. */
  readonly weightBytes: Readonly<Record<WeightPrecision, number>> | null;
}

function metadataValue(value: GgufValue): MetadataValue {
  if (typeof value === 'bigint') return String(value);
  // JSON has no infinities and no NaN.
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object') return value;
  const first = Array.from(value.slice(0, SHOWN_ITEMS), (item) => metadataValue(item));
  return { length: value.length, first };
}

/** A JSON value fit for a summary: what is nested becomes its text. */
function jsonValue(value: unknown): MetadataValue {
  if (Array.isArray(value)) {
    return { length: value.length, first: value.slice(0, SHOWN_ITEMS).map(jsonValue) };
  }
  if (typeof value === 'object' && value !== null) return JSON.stringify(value);
  return value as string | number | boolean | null;
}

function totals(tensors: readonly TensorSummary[]): Pick<FileSummary, 'parameters' | 'types'> {
  const byType = new Map<string, { tensors: number; parameters: number; bytes: number }>();
  for (const { type, shape, bytes } of tensors) {
    const total = byType.get(type) ?? { tensors: 0, parameters: 0, bytes: 0 };
    total.tensors += 1;
    total.parameters += numelOf(shape);
    total.bytes += bytes;
    byType.set(type, total);
  }
  const types = [...byType].map(([type, total]) => ({ type, ...total }));
  return {
    parameters: types.reduce((n, { parameters }) => n + parameters, 0),
    types: types.sort((a, b) => b.bytes - a.bytes),
  };
}

/** Why a model does not run. */
type Reason = FileSummary['runs']['reasons'][number];

/** What `attempt` gives, or null and its error among the reasons. */
function orReason<T>(reasons: Reason[], attempt: () => T): T | null {
  try {
    return attempt();
  } catch (error) {
    if (!(error instanceof MobillmError)) throw error;
    reasons.push({ code: error.code, message: error.message });
    return null;
  }
}

/** What becomes of the files once loaded; nulls, and a reason, where they are no model. */
function modelParts(
  reasons: Reason[],
  attempt: () => StoredModel,
): Pick<FileSummary, 'model' | 'weightBytes'> {
  const stored = orReason(reasons, attempt);
  if (!stored) return { model: null, weightBytes: null };
  const { family, config } = stored;
  return {
    model: {
      family,
      layers: config.numHiddenLayers,
      hiddenSize: config.hiddenSize,
      vocabSize: config.vocabSize,
      contextLength: config.maxPositionEmbeddings,
      cacheBytesPerToken: stored.cacheBytesPerToken,
    },
    weightBytes: orReason(reasons, () => ({
      int8: stored.weightBytes('int8'),
      int4: stored.weightBytes('int4'),
      f32: stored.weightBytes('f32'),
    })),
  };
}

/** Sums up a GGUF file from its header: no tensor is read. */
export function summarizeGguf(file: GgufFile): FileSummary {
  const tensors = [...file.tensors.values()].map(({ name, type, shape, byteLength }) => ({
    name,
    type,
    shape,
    bytes: byteLength,
  }));
  const reasons: Reason[] = [];
  const parts = modelParts(reasons, () => modelOfGguf(file));
  orReason(reasons, () => tokenizerFromGguf(file.metadata));
  const architecture = file.metadata.get('general.architecture');
  return {
    format: 'gguf',
    version: file.version,
    architecture: typeof architecture === 'string' ? architecture : null,
    // fromEntries defines properties, so that a key may be called __proto__.
    metadata: Object.fromEntries(
      Array.from(file.metadata, ([key, value]) => [key, metadataValue(value)]),
    ),
    ...totals(tensors),
    tensors,
    runs: { supported: reasons.length === 0, reasons },
    ...parts,
    chatTemplate: typeof file.metadata.get('tokenizer.chat_template') === 'string',
  };
}

/** Sums up a model folder from its configuration and headers: no tensor is read. */
export function summarizeFolder(folder: HfFolder): FileSummary {
  const { json } = folder.config;
  const config = typeof json === 'object' && json !== null ? Object.entries(json) : [];
  const tensors = tensorsOf(folder.weights);
  const reasons: Reason[] = [];
  const parts = modelParts(reasons, () => modelOfFolder(folder.config, folder.weights));
  const tokenizer = orReason(reasons, () => folderTokenizer(folder));
  const dialogue = tokenizer && orReason(reasons, () => folderDialogue(folder, tokenizer));
  const modelType = (json as { model_type?: unknown } | null)?.model_type;
  return {
    format: 'folder',
    version: null,
    architecture: typeof modelType === 'string' ? modelType : null,
    metadata: Object.fromEntries(config.map(([key, value]) => [key, jsonValue(value)])),
    ...totals(tensors),
    tensors,
    runs: { supported: reasons.length === 0, reasons },
    ...parts,
    chatTemplate: dialogue?.chatTemplate !== undefined,
  };
}

/** Sums up a safetensors file, which holds tensors and neither configuration nor tokenizer. */
export function summarizeSafetensors(file: SafetensorsFile): FileSummary {
  const tensors = tensorsOf(file);
  const message = `${file.name}: a safetensors file alone has neither configuration nor tokenizer; inspect its folder`;
  return {
    format: 'safetensors',
    version: null,
    architecture: null,
    metadata: { ...file.metadata },
    ...totals(tensors),
    tensors,
    runs: { supported: false, reasons: [{ code: 'E_MODEL', message }] },
    model: null,
    chatTemplate: false,
    weightBytes: null,
  };
}

function tensorsOf(file: SafetensorsFile): TensorSummary[] {
  return [...file.tensors].map(([name, { type, shape, byteLength }]) => ({
    name,
    type,
    shape,
    bytes: byteLength,
  }));
}
