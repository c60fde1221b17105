/** Runs a batch on a device's thread as a command does, and prints what memory that took. */
import { DeviceThread } from '../../src/cli/device-thread.ts';

const [path, precision, weights, batch, tokens] = process.argv.slice(2);
const device = await DeviceThread.load({
  path,
  precision: precision as 'int4',
  weights: weights as 'stream',
  backend: 'wasm',
  pack: 'auto',
});
await device.usePlan({
  ...{ template: '{text}', labels: [], prefix: '', maxSeqLength: Number(tokens) },
  ...{ layers: [30], kinds: ['last', 'mean'], bits: 4 },
});
const text = 'the of and to in is was for on that by with from at his an were are '.repeat(20);
await device.calibrate(Array.from({ length: Number(batch) }, () => ({ text, label: '' })));
const memory = await device.memory();
console.log(JSON.stringify({ memory, peakRss: process.resourceUsage().maxRSS * 1024 }));
await device.close();
