import { ProgressLine } from './progress.ts';
import { pullModel } from './pull.ts';

/**
 * Fetches a named model, showing source, bytes, rate and ETA on standard error.
 * @returns the file's path in the cache
 */
export async function pullWithProgress(
  name: string,
  options: { quiet: boolean; signal?: AbortSignal },
): Promise<string> {
  const line = new ProgressLine({ silent: options.quiet });
  const pulled = await pullModel(name, {
    signal: options.signal,
    onProgress: ({ phase, source, message }) => {
      const text = `pull ${name}: ${source}: ${message}`;
      // Why a source was given up stays readable; the rest is overwritten.
      if (phase === 'failed') line.done(text);
      else line.update(() => text);
    },
  });
  line.done(
    pulled.source === 'cache' ? undefined : `pull ${name}: done, from the ${pulled.source}`,
  );
  return pulled.path;
}
