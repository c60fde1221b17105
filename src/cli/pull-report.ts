/** Where a model's files come from. */
export type PullSource = 'cache' | 'hub cache' | 'hub' | 'package';

/** What goes on in a pull. */
export interface PullProgress {
  /** `waiting`: for another process that pulls; `failed`: this source, the next one follows. */
  readonly phase: 'verifying' | 'waiting' | 'connecting' | 'downloading' | 'failed';
  readonly source: PullSource;
  /** For people: what is done, or why it failed. */
  readonly message: string;
  /** Bytes so far and in all; 0 of 0 where nothing is counted. */
  readonly done: number;
  readonly total: number;
  readonly bytesPerSecond: number;
  /** Infinity while unknown. */
  readonly secondsLeft: number;
}

/** Tells one step of a pull. */
export type Report = (
  phase: PullProgress['phase'],
  source: PullSource,
  message: string,
  done?: number,
  total?: number,
) => void;

/** Adds rate and remaining time, counted from the first report of each phase and source. */
export function reporter(onProgress: ((progress: PullProgress) => void) | undefined): Report {
  let key = '';
  let start = 0;
  let first = 0;
  return (phase, source, message, done = 0, total = 0) => {
    if (key !== `${phase} ${source}`) {
      key = `${phase} ${source}`;
      start = performance.now();
      first = done;
    }
    const seconds = (performance.now() - start) / 1000;
    // A download that begins anew has fewer bytes than it had.
    const bytesPerSecond = seconds > 0 ? Math.max(0, done - first) / seconds : 0;
    const secondsLeft =
      bytesPerSecond > 0 ? (total - done) / bytesPerSecond : Number.POSITIVE_INFINITY;
    onProgress?.({ phase, source, message, done, total, bytesPerSecond, secondsLeft });
  };
}
