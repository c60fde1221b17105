import { monotonicMs } from '../platform/clock.ts';
import type { Tracer } from '../trace/index.ts';
import {
  type Connection,
  FRAME_HEADER_BYTES,
  type Split,
  TAPS_HEADER_BYTES,
} from '../transport/index.ts';
import type { EncodedBatch } from './device-engine.ts';
import type { EncodingEngine, JobProgress, JobSpec, LabelledRow } from './job-spec.ts';

/** Bytes of activations in one frame: small enough that nothing waits long behind one. */
export const MAX_TILE_BYTES = 1024 * 1024;

/** Computes and sends all rows but those of the first `held` batches; batch t travels while batch t+1 is computed. */
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
  let sending: Promise<void> = Promise.resolve();
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
      const batch = await engine.encode(part.map((row) => row.sample));
      const { startMs, endMs } = batch;
      const name = `forward ${split} ${id}`;
      tracer.span(name, 'compute', 'compute', startMs, endMs, { tokens: batch.tokens });
      // One batch may be on its way while the next is computed; a second would only wait there.
      await sending;
      sending = sendBatch(connection, job, split, id, part, batch, tracer).then(() => {
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
      // Seen by the next `await sending`; until then a broken line must not count as unhandled.
      sending.catch(() => {});
      tokens += batch.tokens;
      truncated += batch.truncated;
    }
  }
  await sending;
  await connection.send({
    type: 'finish',
    rows: { train: job.train.length, valid: job.valid.length },
  });
  return { tokens, truncated };
}

/** A frame a layer, or more where rows are many, then the frame that says which rows they were. */
async function sendBatch(
  connection: Connection,
  job: JobSpec,
  split: Split,
  batch: number,
  rows: readonly LabelledRow[],
  encoded: EncodedBatch,
  tracer: Tracer,
): Promise<void> {
  const { plan, width } = job;
  const startMs = monotonicMs();
  const before = connection.bytesSent.total;
  const tap = { type: 'taps', batch, split, kindStart: 0, width, bits: plan.bits } as const;
  const kindCount = plan.kinds.length;
  const { next } = encoded;
  const count = next?.labels.length ?? rows.length;
  const rowBytes = encoded.taps[0].length / count;
  const room = connection.largestDataFrame - FRAME_HEADER_BYTES - TAPS_HEADER_BYTES;
  const tileRows = Math.max(1, Math.floor(Math.min(room, MAX_TILE_BYTES) / rowBytes));
  for (const [index, layer] of plan.layers.entries()) {
    for (let rowStart = 0; rowStart < count; rowStart += tileRows) {
      const rowCount = Math.min(tileRows, count - rowStart);
      const data = encoded.taps[index].subarray(
        rowStart * rowBytes,
        (rowStart + rowCount) * rowBytes,
      );
      await connection.send({ ...tap, layer, kindCount, rowStart, rowCount, data });
    }
  }
  await connection.send({
    type: 'batch',
    batch,
    split,
    rows: rows.map((row) => row.id),
    labels: next ? (job.lm?.head ? [...next.labels] : []) : rows.map((row) => row.label),
    ...(next && { counts: [...next.counts] }),
  });
  const bytes = connection.bytesSent.total - before;
  tracer.span(`send ${split} ${batch}`, 'transfer', 'socket', startMs, monotonicMs(), { bytes });
}
