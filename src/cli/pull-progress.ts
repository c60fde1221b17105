import { formatBytes, formatDuration, ProgressLine } from './progress.ts';
import { type PulledModel, pullModel } from './pull.ts';
import type { HubPlace } from './pull-hub-access.ts';
import { type PulledRepo, pullRepo } from './pull-repo.ts';
import type { PullProgress } from './pull-report.ts';
import type { FileChoice } from './pull-select.ts';

/** Characters of the bar. */
const BAR = 20;

/** One line of progress: what is done and, where bytes are counted, a bar, bytes, rate and ETA. */
export function pullLine(name: string, progress: PullProgress): string {
  const { source, phase, message, done, total, bytesPerSecond, secondsLeft } = progress;
  if (total === 0) return `pull ${name}: ${source}: ${message}`;
  const share = Math.min(1, done / total);
  const bar = '#'.repeat(Math.floor(share * BAR)).padEnd(BAR, '.');
  // The figures first: a narrow terminal cuts the end off.
  return [
    `${phase === 'verifying' ? 'verify' : 'pull'} [${bar}] ${Math.floor(share * 100)}%`,
    `${formatBytes(done)} of ${formatBytes(total)}`,
    `${formatBytes(Math.round(bytesPerSecond))}/s`,
    `ETA ${formatDuration(secondsLeft)}`,
    `${name}: ${source}: ${message}`,
  ].join(', ');
}

/** What shows a pull on standard error. */
function shown(name: string, quiet: boolean) {
  const line = new ProgressLine({ silent: quiet });
  return {
    onProgress: (progress: PullProgress) => {
      const text = () => pullLine(name, progress);
      // Why a source was given up stays readable; the rest is overwritten.
      if (progress.phase === 'failed') line.done(text());
      else line.update(text);
    },
    end: (source: string) =>
      line.done(source === 'cache' ? undefined : `pull ${name}: done, from the ${source}`),
    broken: () => line.done(),
  };
}

/**
 * Fetches a named model, showing source, bytes, rate and ETA on standard error.
 * @throws as `pullModel` does
 */
export async function pullWithProgress(
  name: string,
  options: { quiet: boolean; offline?: boolean; signal?: AbortSignal },
): Promise<PulledModel> {
  const { quiet, ...rest } = options;
  const { onProgress, end, broken } = shown(name, quiet);
  try {
    const pulled = await pullModel(name, { ...rest, onProgress });
    end(pulled.source);
    return pulled;
  } catch (error) {
    broken();
    throw error;
  }
}

/**
 * Fetches a repository of the hub, showing bytes of all files together, rate and ETA on standard error.
 * @throws as `pullRepo` does
 */
export async function pullRepoWithProgress(
  place: HubPlace,
  options: FileChoice & { quiet: boolean; offline?: boolean; signal?: AbortSignal },
): Promise<PulledRepo> {
  const { quiet, ...rest } = options;
  const { onProgress, end, broken } = shown(place.repo, quiet);
  try {
    const pulled = await pullRepo(place, { ...rest, onProgress });
    end(pulled.source);
    return pulled;
  } catch (error) {
    broken();
    throw error;
  }
}
