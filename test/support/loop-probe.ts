/**
 * Loaded into a process with `--import`: at its end it writes the longest stretches for which its
 * main thread did not get round to its event loop, as JSON, to the file in `MOBILLM_LOOP_PROBE`.
 *
 * Two measures. `cpuMs`: processor time of the main thread between two turns of the loop; a machine
 * that is busy with something else does not make it longer. `wallMs`: the clock's, which also sees
 * a thread that waits in a synchronous call. Both begin with the first socket: before it, modules
 * are loaded and files read, and there is nothing on the loop that could suffer.
 */
import diagnostics from 'node:diagnostics_channel';
import { writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const file = process.env.MOBILLM_LOOP_PROBE;

function watch(path: string): void {
  const longest = { cpuMs: 0, wallMs: 0, turns: 0 };
  const cpuMs = () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let cpu = cpuMs();
  let wall = performance.now();
  const turn = () => {
    const [cpuNow, wallNow] = [cpuMs(), performance.now()];
    longest.cpuMs = Math.max(longest.cpuMs, cpuNow - cpu);
    // A loop that sleeps is not blocked: the timer's own period is taken off.
    longest.wallMs = Math.max(longest.wallMs, wallNow - wall - PERIOD_MS);
    longest.turns++;
    [cpu, wall] = [cpuNow, wallNow];
  };
  setInterval(turn, PERIOD_MS).unref();
  process.on('exit', () => writeFileSync(path, JSON.stringify(longest)));
}

const PERIOD_MS = 1;

if (isMainThread && file) {
  const begin = () => {
    diagnostics.unsubscribe('net.client.socket', begin);
    diagnostics.unsubscribe('net.server.socket', begin);
    watch(file);
  };
  diagnostics.subscribe('net.client.socket', begin);
  diagnostics.subscribe('net.server.socket', begin);
}
