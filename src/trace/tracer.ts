import { monotonicMs } from '../platform/clock.ts';
import { FormatError } from '../tensor/errors.ts';
import type { Interval } from './intervals.ts';

/** What a span can carry along, shown when it is clicked on. */
export type TraceArgs = Readonly<Record<string, string | number | boolean>>;

/** Something that took time: a layer's forward pass, a frame on the wire, a server's step. */
export interface TraceSpan {
  readonly name: string;
  /** What kind of work it is, for totals and colours: `compute`, `transfer`, `step`. */
  readonly category: string;
  /** The row it is drawn in, within its process. */
  readonly track: string;
  /** By `monotonicMs` of the process that recorded it. */
  readonly startMs: number;
  readonly endMs: number;
  readonly args?: TraceArgs;
}

/** All that one process recorded; plain JSON, made to be sent to the process that writes the file. */
export interface TraceRecord {
  readonly process: string;
  readonly spans: readonly TraceSpan[];
  /** Spans that were not kept because there were too many. */
  readonly dropped: number;
}

/** Most spans one process keeps by default, about 100 bytes each. */
const MAX_SPANS = 250_000;

/** Collects what happened when, in this process and in those merged into it. */
export class Tracer {
  readonly process: string;
  private readonly maxSpans: number;
  private readonly spans: TraceSpan[] = [];
  private readonly others: TraceRecord[] = [];
  private dropped = 0;

  /** @param process shown as the name of this process, for example `device` */
  constructor(process: string, options: { maxSpans?: number } = {}) {
    this.process = process;
    this.maxSpans = options.maxSpans ?? MAX_SPANS;
  }

  /**
   * Notes work that has ended; times in ms by `monotonicMs`. An end before the start (taken in
   * two threads, whose clocks differ by microseconds) becomes an empty span.
   */
  span(
    name: string,
    category: string,
    track: string,
    startMs: number,
    endMs: number,
    args?: TraceArgs,
  ): void {
    if (this.spans.length >= this.maxSpans) {
      this.dropped++;
      return;
    }
    this.spans.push({
      name,
      category,
      track,
      startMs,
      endMs: Math.max(startMs, endMs),
      ...(args && { args }),
    });
  }

  /** Runs `work` and notes how long it took, also when it throws. */
  async measure<T>(
    name: string,
    category: string,
    track: string,
    work: () => T | Promise<T>,
    args?: TraceArgs,
  ): Promise<T> {
    const startMs = monotonicMs();
    try {
      return await work();
    } finally {
      this.span(name, category, track, startMs, monotonicMs(), args);
    }
  }

  /** What this process recorded, for another process to `merge`. */
  record(): TraceRecord {
    return { process: this.process, spans: [...this.spans], dropped: this.dropped };
  }

  /**
   * Takes in another process's record; `aheadMs` is how far its clock is ahead of this one's
   * (`estimateClockOffset` of transport/). A second record of the same process adds to the first.
   */
  merge(record: TraceRecord, aheadMs = 0): void {
    this.others.push({
      ...record,
      spans: record.spans.map((span) => ({
        ...span,
        startMs: span.startMs - aheadMs,
        endMs: span.endMs - aheadMs,
      })),
    });
  }

  /** When work of a category went on, ms by this process's clock; of one process or of all. */
  intervals(category: string, process?: string): Interval[] {
    return this.records()
      .filter((record) => process === undefined || record.process === process)
      .flatMap((record) => record.spans)
      .filter((span) => span.category === category)
      .map((span) => [span.startMs, span.endMs]);
  }

  /**
   * The whole trace as JSON text in Chrome's trace event format ("JSON Object Format" of the Trace
   * Event Format document), which chrome://tracing and ui.perfetto.dev open. Times are whole
   * microseconds since the Unix epoch.
   */
  toJson(): string {
    const processIds = numbering();
    const events: object[] = [];
    let dropped = 0;
    for (const record of this.records()) {
      dropped += record.dropped;
      const pid = processIds.of(record.process);
      if (pid.isNew) events.push(metadata('process_name', pid.id, 0, record.process));
      for (const span of record.spans) {
        const tid = pid.children.of(span.track);
        if (tid.isNew) {
          events.push(metadata('thread_name', pid.id, tid.id, span.track));
          // Rows in the order in which they were first used, not by name.
          events.push({
            ...metadata('thread_sort_index', pid.id, tid.id),
            args: { sort_index: tid.id },
          });
        }
        const ts = Math.round(span.startMs * 1000);
        events.push({
          name: span.name,
          cat: span.category,
          ph: 'X',
          ts,
          // The difference of rounded ends: neighbours that touch still touch.
          dur: Math.round(span.endMs * 1000) - ts,
          pid: pid.id,
          tid: tid.id,
          ...(span.args && { args: span.args }),
        });
      }
    }
    // One event a line: such a file can be read with a pager and compared with diff.
    const lines = events.map((event) => JSON.stringify(event)).join(',\n');
    const other = JSON.stringify({ droppedSpans: dropped });
    return `{"displayTimeUnit":"ms","otherData":${other},"traceEvents":[\n${lines}\n]}\n`;
  }

  private records(): TraceRecord[] {
    return [this.record(), ...this.others];
  }
}

/** Numbers from 1 for names, in the order they come; each has names of its own below it. */
interface Numbering {
  of(name: string): { id: number; isNew: boolean; children: Numbering };
}

function numbering(): Numbering {
  const known = new Map<string, { id: number; children: Numbering }>();
  return {
    of(name) {
      const found = known.get(name);
      if (found) return { ...found, isNew: false };
      const made = { id: known.size + 1, children: numbering() };
      known.set(name, made);
      return { ...made, isNew: true };
    },
  };
}

/** A metadata event: the name of a process or of a row. */
function metadata(what: string, pid: number, tid: number, name?: string): object {
  return { name: what, ph: 'M', pid, tid, ...(name !== undefined && { args: { name } }) };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isSpan = (value: unknown): value is TraceSpan =>
  isRecord(value) &&
  [value.name, value.category, value.track].every((field) => typeof field === 'string') &&
  Number.isFinite(value.startMs) &&
  Number.isFinite(value.endMs) &&
  (value.endMs as number) >= (value.startMs as number) &&
  (value.args === undefined || isRecord(value.args));

/**
 * Checks a record that came from outside.
 * @throws FormatError (E_TRACE) when a field is missing or of the wrong kind
 */
export function parseTraceRecord(value: unknown): TraceRecord {
  if (!isRecord(value) || typeof value.process !== 'string' || !Array.isArray(value.spans)) {
    throw new FormatError('trace: not a record with a process name and spans', 'E_TRACE');
  }
  const bad = value.spans.findIndex((span) => !isSpan(span));
  if (bad >= 0) {
    throw new FormatError(
      `trace: span ${bad} of process ${JSON.stringify(value.process)} is malformed`,
      'E_TRACE',
    );
  }
  const dropped = Number.isSafeInteger(value.dropped) ? (value.dropped as number) : 0;
  return { process: value.process, spans: value.spans, dropped };
}
