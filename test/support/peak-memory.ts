/**
 * Runs a batch on a device's thread as a command does, and prints what memory that took: taps of a
 * classifier, or what a language model's job does, its labels on the server or here.
 */
import { DeviceThread } from '../../src/cli/device-thread.ts';
import { sha256Hex } from '../../src/transport/files.ts';

const [path, precision, weights, batch, tokens, labels] = process.argv.slice(2);
const device = await DeviceThread.load({
  path,
  precision: precision as 'int4',
  weights: weights as 'stream',
  backend: 'wasm',
  pack: 'auto',
});
const lm = labels ? { shape: 'text', chat: false, maskPrompt: true } : undefined;
await device.usePlan({
  ...{ template: '{text}', labels: [], prefix: '', maxSeqLength: Number(tokens), bits: 4 },
  ...(lm
    ? { layers: [10, 20, 30], kinds: ['token'], lm: lm as { shape: 'text' } & typeof lm }
    : { layers: [30], kinds: ['last', 'mean'] }),
});
const text = 'the of and to in is was for on that by with from at his an were are '.repeat(20);
const samples = Array.from({ length: Number(batch) }, () => ({ text, label: '' }));
const head = labels === 'server' ? await device.outputHead() : undefined;
await device.calibrate(samples);
if (head) await sha256Hex(head);
if (labels === 'server') await device.encode(samples);
if (labels === 'device') {
  const runs = samples.map((sample) => ({ sample, first: 0, count: Number(tokens) - 1 }));
  const rows = runs.reduce((sum, { count }) => sum + count, 0);
  const states = new Float32Array(rows * device.info.hiddenSize).fill(1);
  await device.labelLoss({ runs, states, tokens: rows, gradient: true, labelSmoothing: 0 });
}
const memory = await device.memory();
console.log(JSON.stringify({ memory, peakRss: process.resourceUsage().maxRSS * 1024 }));
await device.close();
