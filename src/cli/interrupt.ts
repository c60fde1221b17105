import { constants } from 'node:os';

/**
 * Signals closer together than this are one Ctrl-C, in ms: a terminal sends it to every process in
 * the foreground, and those that start others pass it on as well.
 */
const SAME_MS = 400;

/** Thrown through a command that Ctrl-C ended; its name makes the exit code 130. */
export class InterruptedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'AbortError';
  }
}

/**
 * Runs a command so that the first Ctrl-C (or SIGTERM) aborts its signal, for it to end cleanly,
 * and a second ends the process at once.
 * @param unsaved what the person should know when interrupted, asked for when that is over
 * @throws InterruptedError when aborted, whatever error the abort led to
 */
export async function interruptible<T>(
  unsaved: string | (() => string),
  body: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const text = () => (typeof unsaved === 'string' ? unsaved : unsaved());
  let first = 0;
  const stop = () => {
    if (!controller.signal.aborted) {
      first = performance.now();
      controller.abort(new InterruptedError(text()));
    } else if (performance.now() - first > SAME_MS) {
      process.exit(128 + constants.signals.SIGINT);
    }
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    return await body(controller.signal);
  } catch (error) {
    if (controller.signal.aborted) throw new InterruptedError(text());
    throw error;
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}
