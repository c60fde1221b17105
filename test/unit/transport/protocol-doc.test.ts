import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  type ActivationBits,
  decodeActivations,
  encodeActivations,
  encodedLength,
} from '../../../src/quant/codec.ts';
import { trainingOptionsSchema } from '../../../src/server/training-options.ts';
import {
  DEFAULT_MAX_PAYLOAD,
  decodeHalves,
  encodeHalves,
  FrameDecoder,
  MESSAGE_SENDERS,
  MESSAGE_TYPES,
  type MessageType,
  nextState,
  parseMessage,
  payloadLimit,
  type SessionState,
} from '../../../src/transport/index.ts';

/* docs/protocol.md is read here, so that it cannot drift from the code. */

const DOC = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');

/** The cells of the table that follows a heading and has this first header cell. */
function table(heading: string, firstCell: string): string[][] {
  const section = DOC.slice(DOC.indexOf(heading));
  const lines = section.slice(section.indexOf(`| ${firstCell} |`)).split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(2, end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
}

const bytesOf = (hex: string) =>
  new Uint8Array(Buffer.from(hex.replaceAll(/[^0-9a-f]/g, ''), 'hex'));

test('the worked example of the codec', () => {
  const x = Float32Array.from([0.5, -1, 0.25, 2, -0.125, 0]);
  assert.ok(DOC.includes(`One row of six values: ${[...x].join(', ')}.`));
  const rows = table('### Worked example', 'bits');
  assert.deepEqual(
    rows.map(([bits]) => bits),
    ['1', '2', '3', '4', '8', '16'],
  );
  for (const [bits, hex, decoded] of rows) {
    const width = Number(bits) as ActivationBits;
    const bytes = encodeActivations(x, 1, x.length, width);
    assert.deepEqual(bytes, bytesOf(hex as string), `${bits} bits`);
    assert.deepEqual(
      [...decodeActivations(bytes, 1, x.length, width)],
      (decoded as string).split(', ').map(Number),
    );
  }
});

test('the worked example of the calibration', () => {
  const rows = table('### Calibration', 'what');
  const cell = (name: string, nth = 0) => {
    const found = rows.filter(([first]) => first === name)[nth] as string[];
    return (found[1] as string).replaceAll('`', '');
  };
  const numbers = (name: string) => Float32Array.from(cell(name).split(', '), Number);
  const [mean, scale, x] = [numbers('mean'), numbers('scale'), numbers('x of a sample')];
  for (const [nth, values] of [mean, scale].entries()) {
    assert.equal(encodeHalves(values), cell('in JOB', nth));
    assert.deepEqual(
      new Uint8Array(Buffer.from(cell('in JOB', nth), 'base64')),
      bytesOf(cell('its bytes', nth)),
    );
    assert.deepEqual(decodeHalves(cell('in JOB', nth), 6), values);
  }
  const coded = x.map((value, i) => (value - mean[i]) / scale[i]);
  assert.deepEqual(coded, numbers('(x - mean) / scale'));
  const bytes = encodeActivations(coded, 2, 3, 4);
  assert.deepEqual(bytes, bytesOf(cell('its two rows at 4 bits')));
  const decoded = decodeActivations(bytes, 2, 3, 4);
  assert.deepEqual(decoded, numbers('decoded'));
  assert.deepEqual(
    decoded.map((value, i) => mean[i] + scale[i] * value),
    numbers('value'),
  );
  const plain = decodeActivations(encodeActivations(x, 2, 3, 4), 2, 3, 4);
  assert.ok(DOC.includes(`the same four bits give ${[...plain].join(', ')}.`));
});

test("the keys of JOB's training", () => {
  const [, keys] = /training: \{([^}]*)\}/.exec(DOC) as RegExpExecArray;
  assert.deepEqual(
    (keys as string)
      .replaceAll(': [string]', '')
      .split(',')
      .map((key) => key.trim()),
    Object.keys(trainingOptionsSchema.shape),
  );
});

test('the bytes of a row', () => {
  for (const [bits, , bytes] of table('## Activation codec', 'bits')) {
    assert.equal(encodedLength(1, 576, Number(bits) as ActivationBits), Number(bytes));
  }
});

test('the frame', () => {
  const hex = DOC.slice(DOC.indexOf('```hex frame') + 12).split('```')[0] as string;
  let frames = 0;
  new FrameDecoder().push(bytesOf(hex), ({ payload, ...header }) => {
    frames++;
    assert.deepEqual(header, { type: 5, job: 1, sequence: 7 });
    const { data, ...taps } = parseMessage(header.type, payload) as { data: Uint8Array };
    assert.deepEqual(taps, {
      type: 'taps',
      batch: 3,
      split: 'train',
      layer: 24,
      kindStart: 0,
      kindCount: 1,
      rowStart: 0,
      rowCount: 1,
      width: 6,
      bits: 4,
    });
    assert.equal(decodeActivations(data, 1, 6, 4)[3], 2.001220703125);
  });
  assert.equal(frames, 1);
});

test('the messages, who sends them and how long they may be', () => {
  const units: Record<string, number> = { bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20 };
  const rows = table('## Messages', 'type').map(([number, name, sender, , most]) => {
    const [count, unit] = (most as string).split(' ') as [string, string];
    return [Number(number), name, sender, Number(count) * (units[unit] as number)];
  });
  const expected = Object.entries(MESSAGE_TYPES).map(([name, number]) => [
    number,
    name.toUpperCase(),
    MESSAGE_SENDERS[name as MessageType],
    payloadLimit(name as MessageType, DEFAULT_MAX_PAYLOAD),
  ]);
  assert.deepEqual(rows, expected);
});

test('the states', () => {
  for (const [states, names, next] of table('### What may be sent when', 'state')) {
    for (const state of (states as string).split(', ') as SessionState[]) {
      for (const name of (names as string).match(/[A-Z]{2,}/g) ?? []) {
        const type = name.toLowerCase() as MessageType;
        const listed = MESSAGE_SENDERS[type];
        // FILE goes up before the rows, and down at the end.
        const sender = listed !== 'both' ? listed : state === 'running' ? 'device' : 'server';
        assert.ok(listed !== 'both' || type === 'file');
        assert.equal(nextState(state, sender, type), next || state, `${state} ${name}`);
      }
    }
  }
});
