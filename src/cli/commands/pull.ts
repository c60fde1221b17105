import type { Command } from 'commander';
import { UsageError } from '../../tensor/errors.ts';
import { interruptible } from '../interrupt.ts';
import { findModel, namedModels } from '../models.ts';
import { parseRepo } from '../pull-hub-cache.ts';
import { pullRepoWithProgress, pullWithProgress } from '../pull-progress.ts';

interface PullFlags {
  file?: string[];
  include?: string[];
  offline?: boolean;
  json?: boolean;
}

/** What `--json` prints beside the name: path and source, and of a repository of the hub its files. */
async function pull(
  name: string,
  flags: PullFlags,
  signal: AbortSignal,
): Promise<{ path: string }> {
  const { file, include, offline, json } = flags;
  const options = { quiet: json === true, offline, signal };
  const place = findModel(name) ? undefined : parseRepo(name);
  if (place) {
    const { files, ...pulled } = await pullRepoWithProgress(place, { ...options, file, include });
    const listed = files.map(({ digest, ...one }) => ({ ...one, [digest.kind]: digest.hex }));
    return { ...pulled, files: listed } as { path: string };
  }
  if (file || include) {
    throw new UsageError('pull: --file and --include choose from org/name of the hub');
  }
  return pullWithProgress(name, options);
}

/** `mobillm pull`: fetches a model into the user's cache, by name or from the hub. */
export function registerPull(program: Command): void {
  program
    .command('pull')
    .description('fetch a model into the cache: a named one, or any repository of the hub')
    .argument(
      '<name>',
      `${namedModels.map((model) => model.name).join(', ')}, or org/name[@revision] of the hub`,
    )
    .option('--file <name...>', 'these files of the repository, a GGUF file for instance')
    .option('--include <glob...>', 'files whose path fits: * within a folder, ** across folders')
    .option('--offline', 'ask no network: tell where it lies (as with HF_HUB_OFFLINE=1)')
    .option(
      '--json',
      'print one JSON object on standard output: name, path, files and their hashes',
    )
    .addHelpText(
      'after',
      `
HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are heeded. A download that was
broken off goes on where it stopped. Without --file or --include: configuration, tokenizer and
safetensors weights, or the GGUF file where there is just one. Afterwards --model org/name finds it.`,
    )
    .action(async (name: string, flags: PullFlags) => {
      const pulled = await interruptible(
        'what came so far is kept; the next pull goes on',
        (signal) => pull(name, flags, signal),
      );
      process.stdout.write(
        flags.json ? `${JSON.stringify({ name, ...pulled })}\n` : `${pulled.path}\n`,
      );
    });
}
