/** Shortest time between two redraws of the line, in ms. */
const REDRAW_MS = 100;

/** Time between two lines where the output is no terminal, in ms. */
const LOG_MS = 5_000;

/** Writes one line that follows what goes on: redrawn on a terminal, now and then on a pipe. */
export class ProgressLine {
  private readonly out: NodeJS.WriteStream;
  private readonly silent: boolean;
  private readonly start = performance.now();
  private last = Number.NEGATIVE_INFINITY;
  private drawn = false;

  constructor(options: { silent?: boolean; out?: NodeJS.WriteStream } = {}) {
    this.out = options.out ?? process.stderr;
    this.silent = options.silent ?? false;
  }

  /** Shows `text()` when the time has come; `force` shows it now. */
  update(text: () => string, force = false): void {
    if (this.silent) return;
    const now = performance.now();
    const tty = this.out.isTTY === true;
    if (!force && now - this.last < (tty ? REDRAW_MS : LOG_MS)) return;
    // Nothing that ends within two seconds needs a line on a pipe.
    if (!tty && !force && now - this.start < 2_000) return;
    this.last = now;
    if (tty) {
      this.out.write(`\r\u001b[2K${text().slice(0, (this.out.columns ?? 120) - 1)}`);
      this.drawn = true;
    } else {
      this.out.write(`${text()}\n`);
    }
  }

  /** Leaves the line: the last text stays, or is wiped. */
  done(text?: string): void {
    if (this.silent) return;
    if (this.drawn) this.out.write('\r\u001b[2K');
    if (text) this.out.write(`${text}\n`);
    this.drawn = false;
  }
}

/** Seconds as `0:42`, `12:05` or `1:02:03`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '--:--';
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Bytes as people read them: `999 B`, `7.35 kB`, `98.4 MB` (powers of 1000). */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  // What one decimal would round up to 1000 is of the next unit.
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** Rate and remaining time from what is done of a total since `startMs` (performance.now()). */
export function rateAndEta(
  done: number,
  total: number,
  startMs: number,
): { rate: number; eta: string } {
  const seconds = (performance.now() - startMs) / 1000;
  const rate = done / Math.max(seconds, 1e-9);
  return { rate, eta: formatDuration(done > 0 ? (total - done) / rate : Number.POSITIVE_INFINITY) };
}
