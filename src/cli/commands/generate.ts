import type { Command } from 'commander';
import { renderTemplate } from '../../data/index.ts';
import { UsageError } from '../../tensor/errors.ts';
import { readAdapterFolder } from '../adapter-folder.ts';
import type { DeviceThread, GenerateRequest } from '../device-thread.ts';
import { addModelFlags, decimal, integer, type ModelFlags } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { loadDevice } from '../load-device.ts';
import { openAdapter } from '../open-adapter.ts';

interface GenerateFlags extends ModelFlags {
  readonly prompt: string;
  readonly chat?: boolean;
  readonly system?: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly stop?: string[];
  readonly adapterPath?: string;
  readonly seed: number;
  readonly json?: boolean;
}

/** `mobillm generate`: text from the frozen model, or with an adapter from a tuned one, streamed. */
export function registerGenerate(program: Command): void {
  const command = addModelFlags(program.command('generate'));
  command
    .description('continue a prompt with the frozen model, or with an adapter beside it')
    .requiredOption('-p, --prompt <text>', 'text to continue, or to answer with --chat')
    .option('--chat', "take the prompt as the user's turn and word it by the model's chat template")
    .option('--system <text>', "with --chat: the system's turn before it")
    .option('-n, --max-tokens <n>', 'most tokens to make', integer(1), 100)
    .option('--temperature <t>', '0 takes the likeliest token every time', decimal(0), 0)
    .option('--top-k <k>', 'draw among the k likeliest tokens; 0 for all', integer(0), 0)
    .option(
      '--top-p <p>',
      'draw among the likeliest tokens that reach p together',
      decimal(0, 1, true),
      1,
    )
    .option(
      '--min-p <p>',
      "leave out tokens below this share of the likeliest one's probability",
      decimal(0, 1),
      0,
    )
    .option('--stop <text...>', 'texts that end it; not shown')
    .option('--seed <n>', 'start of the random numbers', integer(0), 0)
    .option(
      '--adapter-path <folder>',
      'adapter of a tuned language model; the prompt is worded as its data was, --precision is its own, and --model unless given',
    )
    .option('--json', 'print one JSON object at the end instead of streaming')
    .action(async (flags: GenerateFlags) => {
      if (flags.system !== undefined && !flags.chat) {
        throw new UsageError('--system: it is a turn of a conversation; give --chat with it');
      }
      if (flags.stop?.some((stop) => stop === '')) throw new UsageError('--stop: a text is empty');
      await interruptible('generation stopped', async (signal) => {
        const quiet = flags.json === true;
        const { device, request } = flags.adapterPath
          ? await openTuned(flags, command, { quiet, signal })
          : { device: await loadDevice(flags, { quiet, signal }), request: flags };
        try {
          let text = '';
          const made = await device.generate(request, (piece) => {
            text += piece;
            if (!flags.json) process.stdout.write(piece);
          });
          const rate = (made.tokens - 1) / Math.max(1e-3, (made.totalMs - made.promptMs) / 1000);
          const promptRate = made.promptTokens / Math.max(1e-3, made.promptMs / 1000);
          const { kernels, backend } = device.info;
          if (flags.json) {
            const { model, prompt } = flags;
            const speed = { promptTokensPerSecond: promptRate, tokensPerSecond: rate };
            process.stdout.write(
              `${JSON.stringify({ model, prompt, text, ...made, ...speed, kernels, backend })}\n`,
            );
          } else {
            process.stdout.write('\n');
            process.stderr.write(
              `${made.promptTokens} prompt tokens at ${promptRate.toFixed(0)}/s, ${made.tokens} made at ${rate.toFixed(1)}/s; ${kernels}, ${backend}\n`,
            );
          }
        } finally {
          await device.close();
        }
      });
    });
}

/** A device with the adapter beside its model, and the prompt in the words of the adapter's data. */
async function openTuned(
  flags: GenerateFlags,
  command: Command,
  options: { quiet: boolean; signal: AbortSignal },
): Promise<{ device: DeviceThread; request: GenerateRequest }> {
  const { adapterPath = '', prompt, threads = 1 } = flags;
  const adapter = await readAdapterFolder(adapterPath);
  const { lm, template } = adapter.config;
  if (!lm) {
    throw new UsageError(
      `--adapter-path: ${adapterPath} classifies and makes no text; mobillm predict runs it`,
    );
  }
  const model = command.getOptionValueSource('model') === 'default' ? undefined : flags.model;
  const device = await openAdapter(adapter, { ...flags, adapterPath, model, threads }, options);
  const chat = flags.chat || lm.chat;
  const worded =
    chat || lm.shape === 'text' ? prompt : renderTemplate(template, { text: prompt, labels: [] });
  return { device, request: { ...flags, prompt: worded, chat, adapter: 'adapter' } };
}
