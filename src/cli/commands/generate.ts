import type { Command } from 'commander';
import { UsageError } from '../../tensor/errors.ts';
import { addModelFlags, decimal, integer, type ModelFlags } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { loadDevice } from '../load-device.ts';

interface GenerateFlags extends ModelFlags {
  readonly prompt: string;
  readonly chat?: boolean;
  readonly system?: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly json?: boolean;
}

/** `mobillm generate`: text from the frozen model, streamed. */
export function registerGenerate(program: Command): void {
  addModelFlags(program.command('generate'))
    .description('continue a prompt with the frozen model')
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
    .option('--seed <n>', 'start of the random numbers', integer(0), 0)
    .option('--json', 'print one JSON object at the end instead of streaming')
    .action(async (flags: GenerateFlags) => {
      if (flags.system !== undefined && !flags.chat) {
        throw new UsageError('--system: it is a turn of a conversation; give --chat with it');
      }
      await interruptible('generation stopped', async (signal) => {
        const device = await loadDevice(flags, { quiet: flags.json === true, signal });
        try {
          let text = '';
          const made = await device.generate(flags, (piece) => {
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
