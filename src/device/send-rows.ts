import { monotonicMs } from '../platform/clock.ts';
import { encodedLength } from '../quant/index.ts';
import type { Tracer } from '../trace/index.ts';
import {
  type Connection,
  FRAME_HEADER_BYTES,
  type Split,
  TAPS_HEADER_BYTES,
} from '../transport/index.ts';
import type { BatchCounts } from './device-engine.ts';
import type { EncodingEngine, JobProgress, JobSpec, LabelledRow } from './job-spec.ts';

/** Bytes of activations in one frame: small enough that nothing waits long behind one. */
export const MAX_TILE_BYTES = 1024 * 1024;

/**
 * Computes and sends all rows but those of the first `held` batches. A layer goes out while those above
 * it are computed, and what is left of batch t while batch t+1 is.
 */
export async function sendRows(
  connection: Connection,
  engine: EncodingEngine,
  job: JobSpec,
  held: number,
  tracer: Tracer,
  progress: JobProgress,
): Promise<{ tokens: number; truncated: number }> {
  const size = job.training.batchSize;
  // Of this start alone: rates and times are those of what is computed now.
  let samplesTotal = job.train.length + job.valid.length;
  let samplesSent = 0;
  let tokens = 0;
  let truncated = 0;
  let number = 0;
  let sent: Promise<void> = Promise.resolve();
  for (const [split, rows] of [
    ['train', job.train],
    ['valid', job.valid],
  ] as const) {
    for (let start = 0; start < rows.length; start += size) {
      const part = rows.slice(start, start + size);
      const id = number++;
      if (id < held) {
        samplesTotal -= part.length;
        continue;
      }
      const sending = new BatchSending(connection, job, { split, batch: id }, tracer, sent);
      const { startMs, endMs, ...batch } = await engine.encodeLayers(
        part.map((row) => row.sample),
        (index, bytes) => sending.layer(index, bytes),
      );
      const name = `forward ${split} ${id}`;
      tracer.span(name, 'compute', 'compute', startMs, endMs, { tokens: batch.tokens });
      // One batch may be on its way while the next is computed; a second would only wait there.
      await sent;
      sent = sending.end(part, batch.next).then(() => {
        samplesSent += part.length;
        progress.onBatch?.({
          split,
          samplesSent,
          samplesTotal,
          tokens,
          truncated,
          deviceMs: endMs - startMs,
          bytesSent: connection.bytesSent.total,
        });
      });
      // Seen by the next `await sent`; until then a broken line must not count as unhandled.
      sent.catch(() => {});
      tokens += batch.tokens;
      truncated += batch.truncated;
    }
  }
  await sent;
  await connection.send({
    type: 'finish',
    rows: { train: job.train.length, valid: job.valid.length },
  });
  return { tokens, truncated };
}

/** A batch on its way: a frame a layer, or more where rows are many, then the frame that says which rows they were. */
class BatchSending {
  private readonly connection: Connection;
  private readonly job: JobSpec;
  private readonly of: { readonly split: Split; readonly batch: number };
  private readonly tracer: Tracer;
  /** What was handed over is on its way, in order. */
  private last: Promise<void>;
  /** When the first of it went out, and how many bytes had before. */
  private begun: { readonly ms: number; readonly bytes: number } | undefined;

  /** @param after what goes out first */
  constructor(
    connection: Connection,
    job: JobSpec,
    of: BatchSending['of'],
    tracer: Tracer,
    after: Promise<void>,
  ) {
    this.connection = connection;
    this.job = job;
    this.of = of;
    this.tracer = tracer;
    this.last = after;
  }

  /** Sends a layer behind what was handed over before. */
  layer(index: number, bytes: Uint8Array): void {
    this.next(async () => {
      this.begin();
      const { plan, width } = this.job;
      const { largestDataFrame } = this.connection;
      const kindCount = plan.kinds.length;
      const rowBytes = kindCount * encodedLength(1, width, plan.bits);
      const room = largestDataFrame - FRAME_HEADER_BYTES - TAPS_HEADER_BYTES;
      const tileRows = Math.max(1, Math.floor(Math.min(room, MAX_TILE_BYTES) / rowBytes));
      const count = bytes.length / rowBytes;
      const tap = { type: 'taps', ...this.of, kindStart: 0, width, bits: plan.bits } as const;
      for (let rowStart = 0; rowStart < count; rowStart += tileRows) {
        const rowCount = Math.min(tileRows, count - rowStart);
        const data = bytes.subarray(rowStart * rowBytes, (rowStart + rowCount) * rowBytes);
        const layer = plan.layers[index];
        await this.connection.send({ ...tap, layer, kindCount, rowStart, rowCount, data });
      }
    });
  }

  /** Ends the batch; resolves when all of it went out. */
  end(rows: readonly LabelledRow[], next: BatchCounts['next']): Promise<void> {
    const { connection, job, of, tracer } = this;
    return this.next(async () => {
      const begun = this.begin();
      await connection.send({
        type: 'batch',
        ...of,
        rows: rows.map((row) => row.id),
        labels: next ? (job.lm?.head ? [...next.labels] : []) : rows.map((row) => row.label),
        ...(next && { counts: [...next.counts] }),
      });
      const bytes = connection.bytesSent.total - begun.bytes;
      const name = `send ${of.split} ${of.batch}`;
      tracer.span(name, 'transfer', 'socket', begun.ms, monotonicMs(), { bytes });
    });
  }

  private begin(): NonNullable<BatchSending['begun']> {
    this.begun ??= { ms: monotonicMs(), bytes: this.connection.bytesSent.total };
    return this.begun;
  }

  private next(send: () => Promise<void>): Promise<void> {
    this.last = this.last.then(send);
    // Seen by who awaits the end; until then a broken line must not count as unhandled.
    this.last.catch(() => {});
    return this.last;
  }
}
