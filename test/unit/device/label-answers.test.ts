import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LabelAnswers, type LabelExchange } from '../../../src/device/label-answers.ts';
import { labelsOfRuns } from '../../../src/device/label-loss.ts';
import { Tracer } from '../../../src/trace/index.ts';
import type { Connection, Message, StatesMessage } from '../../../src/transport/index.ts';
import { hasCode } from '../../support/transport.ts';

const WIDTH = 2;

const STATES: StatesMessage = {
  type: 'states',
  ...{ part: 0, split: 'train', gradient: true, tokens: 3, width: WIDTH },
  runs: [{ row: 7, first: 1, count: 2 }],
  states: Float32Array.of(1, 2, 3, 4),
};

/** A device with one row of three labels, and what it has sent. */
function holder() {
  const sent: Message[] = [];
  const told: LabelExchange[] = [];
  const connection = {
    async send(message: Message) {
      sent.push(message);
    },
  } as unknown as Connection;
  const sample = { text: 'a', label: 'b' };
  const answers = new LabelAnswers(connection, {
    labelLoss({ runs, states }) {
      const labels = labelsOfRuns(runs, () => [4, 5, 6]);
      const gradient = states.map((value) => value * labels[0]);
      return { loss: labels.length, gradient, startMs: 10, endMs: 14 };
    },
    ...{ rows: { train: [{ id: 7, sample }], valid: [] }, width: WIDTH, labelSmoothing: 0 },
    tracer: new Tracer('device'),
    onExchange: (exchange) => told.push(exchange),
  });
  return { answers, sent, told };
}

test('parts are answered in their order, and what went to and fro is told', async () => {
  const { answers, sent, told } = holder();
  await answers.take(STATES);
  await answers.take({ ...STATES, part: 1, runs: [{ row: 7, first: 0, count: 2 }] });
  await answers.sent;
  assert.deepEqual(sent, [
    { type: 'grads', part: 0, loss: 2, width: 2, gradient: Float32Array.of(5, 10, 15, 20) },
    { type: 'grads', part: 1, loss: 2, width: 2, gradient: Float32Array.of(4, 8, 12, 16) },
  ]);
  // Two frames a part with heads of 20 and 24 bytes, a run, four numbers.
  const bytes = { down: 2 * (44 + 12 + 16), up: 2 * (44 + 16) };
  assert.deepEqual(answers.exchange, { parts: 2, tokens: 4, bytes, computeMs: 8 });
  assert.deepEqual(told.at(-1), answers.exchange);
});

test('a server that asks for what there is not is refused', async () => {
  const refuses = async (change: Partial<StatesMessage>, says: RegExp) => {
    const { answers, sent } = holder();
    await assert.rejects(answers.take({ ...STATES, ...change }), hasCode('E_JOB', says));
    assert.deepEqual(sent, []);
  };
  await refuses({ part: 1 }, /part 1: 0 is due/);
  await refuses({ width: 4 }, /its width is 4, not 2/);
  await refuses({ split: 'valid' }, /valid row 7 is none/);
  await refuses({ runs: [{ row: 8, first: 0, count: 2 }] }, /train row 8 is none/);
  const beyond = [{ row: 7, first: 2, count: 2 }];
  await refuses({ runs: beyond }, /tokens 2 to 3 of a row that has 3 in the loss/);
});
