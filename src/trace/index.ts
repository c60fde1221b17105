/**
 * What happened when, in several processes on one clock: spans, Chrome's trace format, and the
 * arithmetic behind "how much of the server's time was hidden".
 * @module
 */
/** The clock that all spans are in. */
export { monotonicMs as clockMs } from '../platform/clock.ts';
export { covered, hiddenShare, type Interval, intersection, overlap, union } from './intervals.ts';
export {
  parseTraceRecord,
  type TraceArgs,
  type TraceRecord,
  Tracer,
  type TraceSpan,
} from './tracer.ts';
