/** Finds texts that end a stream of pieces, also where one is spread over several of them. */
export class StopStrings {
  /** Whether one of them has come. */
  found = false;
  private readonly stops: readonly string[];
  /** The end of what came, which may be the beginning of one of them. */
  private held = '';

  /** @param stops texts, none of them empty */
  constructor(stops: readonly string[]) {
    this.stops = stops;
  }

  /** Takes a piece: what may be shown now, which ends before the first stop there is. */
  push(piece: string): string {
    if (this.found) return '';
    const text = this.held + piece;
    const places = this.stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (places.length > 0) {
      this.found = true;
      this.held = '';
      return text.slice(0, Math.min(...places));
    }
    const keep = Math.max(0, ...this.stops.map((stop) => beginning(text, stop)));
    this.held = text.slice(text.length - keep);
    return text.slice(0, text.length - keep);
  }

  /** What was held back and turned out to be no stop. */
  flush(): string {
    const rest = this.held;
    this.held = '';
    return rest;
  }
}

/** Length of the longest end of `text` that `stop` begins with. */
function beginning(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
