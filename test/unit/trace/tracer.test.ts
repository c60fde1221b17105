import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError } from '../../../src/tensor/errors.ts';
import { hiddenShare } from '../../../src/trace/intervals.ts';
import { parseTraceRecord, Tracer } from '../../../src/trace/tracer.ts';

interface Event {
  name: string;
  ph: string;
  ts: number;
  dur: number;
  pid: number;
  tid: number;
  args?: Record<string, unknown>;
}

const eventsOf = (tracer: Tracer): Event[] => JSON.parse(tracer.toJson()).traceEvents;

test('complete events in whole microseconds, with names for processes and rows', () => {
  const tracer = new Tracer('device');
  tracer.span('forward', 'compute', 'worker', 1000.5, 1002.25, { batch: 3 });
  tracer.span('send', 'transfer', 'socket', 1002.25, 1003);
  tracer.span('forward', 'compute', 'worker', 1003, 1004);
  const events = eventsOf(tracer);
  assert.deepEqual(
    events.filter((event) => event.ph === 'M').map((event) => [event.name, event.pid, event.tid]),
    [
      ['process_name', 1, 0],
      ['thread_name', 1, 1],
      ['thread_sort_index', 1, 1],
      ['thread_name', 1, 2],
      ['thread_sort_index', 1, 2],
    ],
  );
  assert.deepEqual(
    events
      .filter((event) => event.ph === 'X')
      .map(({ name, ts, dur, tid }) => [name, ts, dur, tid]),
    [
      ['forward', 1_000_500, 1750, 1],
      ['send', 1_002_250, 750, 2],
      ['forward', 1_003_000, 1000, 1],
    ],
  );
  assert.deepEqual(events.find((event) => event.ph === 'X')?.args, { batch: 3 });
});

test('a merged process is moved onto our clock and keeps its own rows', () => {
  const server = new Tracer('server');
  server.span('step', 'step', 'worker', 6000, 6004);
  server.span('step', 'step', 'worker', 6008, 6012);
  const device = new Tracer('device');
  device.span('forward', 'compute', 'worker', 1000, 1010);
  device.merge(parseTraceRecord(JSON.parse(JSON.stringify(server.record()))), 5000);
  assert.deepEqual(device.intervals('step', 'server'), [
    [1000, 1004],
    [1008, 1012],
  ]);
  assert.equal(hiddenShare(device.intervals('step'), device.intervals('compute')), 6 / 8);
  const steps = eventsOf(device).filter((event) => event.name === 'step');
  assert.deepEqual(
    steps.map(({ ts, pid }) => [ts, pid]),
    [
      [1_000_000, 2],
      [1_008_000, 2],
    ],
  );
});

test('measure notes work that throws too', async () => {
  const tracer = new Tracer('device');
  assert.equal(await tracer.measure('ok', 'compute', 'main', () => 7), 7);
  await assert.rejects(
    tracer.measure('bad', 'compute', 'main', async () => {
      throw new RangeError('no');
    }),
    RangeError,
  );
  assert.equal(tracer.intervals('compute').length, 2);
});

test('a full tracer counts what it drops, and an end before the start is an empty span', () => {
  const tracer = new Tracer('device', { maxSpans: 1 });
  tracer.span('a', 'compute', 'main', 5, 4);
  tracer.span('b', 'compute', 'main', 5, 6);
  assert.deepEqual(tracer.intervals('compute'), [[5, 5]]);
  assert.equal(JSON.parse(tracer.toJson()).otherData.droppedSpans, 1);
});

test('a record from outside is checked', () => {
  const span = { name: 'a', category: 'c', track: 't', startMs: 0, endMs: 1 };
  assert.equal(parseTraceRecord({ process: 'p', spans: [span] }).spans.length, 1);
  for (const bad of [
    null,
    [],
    { process: 'p' },
    { process: 1, spans: [] },
    { process: 'p', spans: [{ ...span, startMs: '0' }] },
    { process: 'p', spans: [{ ...span, endMs: -1 }] },
    { process: 'p', spans: [{ ...span, endMs: Number.NaN }] },
    { process: 'p', spans: [{ ...span, args: [] }] },
    { process: 'p', spans: [span, null] },
  ]) {
    assert.throws(() => parseTraceRecord(bad), FormatError);
  }
});
