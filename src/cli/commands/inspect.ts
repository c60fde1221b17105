import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import Table from 'cli-table3';
import { type Command, Option } from 'commander';
import type { Task } from '../../data/index.ts';
import {
  openGguf,
  openHfFolder,
  openSafetensors,
  type WeightPrecision,
} from '../../model/index.ts';
import { fileByteSource } from '../../platform/node.ts';
import { UsageError } from '../../tensor/errors.ts';
import {
  type FileSummary,
  type MetadataValue,
  summarizeFolder,
  summarizeGguf,
  summarizeSafetensors,
} from '../file-summary.ts';
import {
  integer,
  layerChoice,
  memoryLimitOption,
  type ThreadChoice,
  threadsOf,
  threadsOption,
  weightsOption,
} from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { namesModel, resolveModel } from '../load-device.ts';
import { renderKinds, totalOf } from '../memory-kinds.ts';
import { checkFits, planMemory } from '../memory-plan.ts';
import { diskFolder, isFolder, openModelPath } from '../model-files.ts';
import type { WeightPlace } from '../packed-models.ts';
import { formatBytes } from '../progress.ts';
import { checkLabels, DEFAULT_LM_SIDE, LABEL_PLACES, type LabelPlace } from '../training-flags.ts';

/** Columns of a metadata value before it is cut; a chat template has thousands. */
const VALUE_WIDTH = 72;

interface InspectFlags {
  readonly tensors?: boolean;
  readonly json?: boolean;
  readonly plan?: boolean;
  readonly precision: WeightPrecision;
  readonly weights: WeightPlace;
  readonly batchSize: number;
  readonly maxSeqLength: number;
  readonly task: Task;
  readonly labels: LabelPlace;
  readonly threads: ThreadChoice;
  readonly memoryLimit?: number;
}

/** `mobillm inspect`: what stands in a model's files, whether it runs here, and in how much memory. */
export function registerInspect(program: Command): void {
  program
    .command('inspect')
    .description('show what stands in a model, whether it runs here and what memory it needs')
    .argument(
      '<model>',
      'a .gguf or .safetensors file, a model folder, a named model, or org/name as pulled',
    )
    .option('--tensors', 'list every tensor')
    .option('--json', 'print one JSON object on standard output')
    .option('--plan', 'tell instead what memory the device will take in training, by kind')
    .addOption(
      new Option('--precision <format>', 'of the plan: how matrices are held')
        .choices(['int8', 'int4', 'f32'])
        .default('int8'),
    )
    .addOption(weightsOption())
    .option('--batch-size <n>', 'of the plan: samples of a batch', integer(1), 32)
    .option('--max-seq-length <tokens>', 'of the plan: tokens of a sample', integer(1), 256)
    .addOption(
      new Option('--task <name>', 'of the plan: lm where the next token is learnt')
        .choices(['classification', 'regression', 'lm'])
        .default('classification'),
    )
    .addOption(
      new Option('--labels <where>', "of the plan: where a language model's labels are")
        .choices([...LABEL_PLACES])
        .default('server'),
    )
    .addOption(threadsOption())
    .addOption(memoryLimitOption())
    .action(async (model: string, flags: InspectFlags) => {
      await interruptible('inspection stopped', async (signal) => {
        const quiet = flags.json === true;
        const path = namesModel(model) ? await resolveModel(model, { quiet, signal }) : model;
        if (flags.memoryLimit !== undefined && !flags.plan) {
          throw new UsageError('--memory-limit: it is held against the plan; give --plan with it');
        }
        if (flags.plan) {
          process.stdout.write(`${await planText(path, flags)}\n`);
          return;
        }
        const { bytes, summary } = await summarize(path);
        const text = quiet
          ? JSON.stringify({ file: path, bytes, ...forJson(summary, flags) })
          : render(path, bytes, summary, flags.tensors === true);
        process.stdout.write(`${text}\n`);
      });
    });
}

/**
 * What the device will take, as text or JSON.
 * @throws UsageError (E_MEMORY) where that is more than `--memory-limit`
 */
async function planText(path: string, flags: InspectFlags): Promise<string> {
  const { precision, weights, batchSize, maxSeqLength, task, labels, memoryLimit } = flags;
  checkLabels(labels, task);
  const { model, close } = await openModelPath(path);
  try {
    if (task === 'lm' && model.family === 'encoder') {
      throw new UsageError(
        `--task lm: ${printable(path)} is an encoder and makes no next token; use a decoder`,
      );
    }
    const work = {
      ...{ precision, weights, threads: threadsOf(flags.threads), connected: true },
      lengths: Array<number>(batchSize).fill(maxSeqLength),
      ...(task === 'lm' && {
        lm: {
          layers: layerChoice('auto')(model.config.numHiddenLayers).length,
          ...({ bits: 4, scored: DEFAULT_LM_SIDE } as const),
          ...{ sendsHead: labels === 'server', labelLoss: labels === 'device' },
        },
      }),
    };
    const memory = await planMemory(model, work);
    if (memoryLimit !== undefined) {
      checkFits(memory, work, { available: memoryLimit, because: '--memory-limit' });
    }
    const total = totalOf(memory);
    if (flags.json) {
      const { threads } = work;
      return JSON.stringify({
        ...{ file: path, precision, weights, batchSize, maxSeqLength, task, labels, threads },
        ...{ memory, total },
      });
    }
    const tuned = task === 'lm' ? ` of a language model, --labels ${labels}` : '';
    return `${printable(path)}, --precision ${precision} --weights ${weights}, ${batchSize} samples of ${maxSeqLength} tokens${tuned}: about ${formatBytes(total)}: ${renderKinds(memory)}`;
  } finally {
    await close();
  }
}

/** The summary of a file or folder, and the bytes of its weights' files. */
async function summarize(path: string): Promise<{ bytes: number; summary: FileSummary }> {
  if (await isFolder(path)) {
    const reader = diskFolder(path);
    try {
      const folder = await openHfFolder(reader);
      const sizes = await Promise.all(
        folder.weightFiles.map(async (file) => (await stat(join(path, file))).size),
      );
      const bytes = sizes.reduce((sum, size) => sum + size, 0);
      return { bytes, summary: summarizeFolder(folder) };
    } finally {
      await reader.close();
    }
  }
  const source = await fileByteSource(path);
  try {
    const summary = path.toLowerCase().endsWith('.safetensors')
      ? summarizeSafetensors(await openSafetensors(source))
      : summarizeGguf(await openGguf(source));
    return { bytes: source.size, summary };
  } finally {
    await source.close();
  }
}

/** The summary with its tensors counted, and listed where that was asked for. */
function forJson(summary: FileSummary, flags: InspectFlags) {
  const { tensors, ...rest } = summary;
  return { ...rest, tensorCount: tensors.length, ...(flags.tensors && { tensors }) };
}

/** Text out of a file for a terminal: escapes, line breaks and the like are spelled out. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) => {
    const name = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }[character];
    return name ?? `\\u{${(character.codePointAt(0) as number).toString(16)}}`;
  });
}

function renderValue(value: MetadataValue): string {
  if (typeof value !== 'object' || value === null) return cut(printable(String(value)));
  const items = value.first.map((item) =>
    typeof item === 'string' ? JSON.stringify(item) : renderValue(item),
  );
  if (value.length > items.length) items.push('...');
  return `${value.length} in an array: ${cut(printable(items.join(', ')))}`;
}

function cut(text: string): string {
  const characters = [...text];
  return characters.length > VALUE_WIDTH ? `${characters.slice(0, VALUE_WIDTH).join('')}...` : text;
}

function table(head: string[], rows: readonly string[][], numbers: number): string {
  const colAligns = head.map((_, i) => (i < head.length - numbers ? 'left' : 'right'));
  const made = new Table({ head, colAligns, style: { head: [], border: [] } });
  made.push(...rows.map((row) => [...row]));
  return made.toString();
}

function render(path: string, size: number, summary: FileSummary, list: boolean): string {
  const { format, version, architecture, metadata, parameters, types, tensors } = summary;
  const count = (n: number) => n.toLocaleString('en');
  const lines = [
    `${printable(path)}: ${format}${version === null ? '' : ` version ${version}`}, ${formatBytes(size)}`,
    `architecture: ${architecture === null ? 'not named' : printable(architecture)}`,
    `parameters: ${count(parameters)} in ${count(tensors.length)} tensors`,
  ];
  if (summary.runs.supported) lines.push('runs here: yes');
  for (const { code, message } of summary.runs.reasons) {
    lines.push(`runs here: no [${code}]: ${printable(message)}`);
  }
  if (summary.model) {
    const { family, layers, hiddenSize, vocabSize, contextLength } = summary.model;
    lines.push(
      `model: ${family}, ${layers} layers of ${hiddenSize}, vocabulary of ${count(vocabSize)}, context of ${count(contextLength)} tokens${summary.chatTemplate ? ', chat template' : ''}`,
    );
  }
  if (summary.weightBytes) {
    const sizes = Object.entries(summary.weightBytes).map(
      ([precision, bytes]) => `${precision} ${formatBytes(bytes)}`,
    );
    const cache = summary.model?.cacheBytesPerToken ?? 0;
    const perToken = cache > 0 ? `; ${formatBytes(cache)} for a cached token` : '';
    lines.push(`memory for weights: --precision ${sizes.join(', ')}${perToken}`);
  }
  lines.push(
    table(
      ['type', 'tensors', 'parameters', 'bytes'],
      types.map((total) => [
        total.type,
        count(total.tensors),
        count(total.parameters),
        formatBytes(total.bytes),
      ]),
      3,
    ),
  );
  for (const [key, value] of Object.entries(metadata)) {
    lines.push(`${printable(key)} = ${renderValue(value)}`);
  }
  if (list) {
    const rows = tensors.map(({ name, type, shape, bytes }) => [
      printable(name),
      type,
      `[${shape.join(', ')}]`,
      formatBytes(bytes),
    ]);
    lines.push(table(['tensor', 'type', 'shape', 'bytes'], rows, 1));
  }
  return lines.join('\n');
}
