import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CliProcess,
  type CliResult,
  type CliServer,
  runCli,
  SMALL_JOB,
  startCli,
  startServer,
  type Workspace,
} from './cli.ts';
import { tinyRows } from './tiny-model.ts';

/** Rows to train on, a tenth taken out for validation: 11 batches an epoch. */
const ROWS = 96;

/** How long the removal of a job's folder may take, in ms. */
const FORGET_MS = 5_000;

/** Jobs on a server that keeps them, in processes that may be killed, and what is left of them. */
export class BrokenJobs {
  readonly stateDir: string;
  server!: CliServer;
  private readonly space: Workspace;
  private readonly data: string;
  /** Length of the server's log when the last job was started. */
  private begun = 0;

  /** @param data a folder; rows of three classes unless given */
  constructor(space: Workspace, stateDir = space.path('state'), data?: string) {
    this.space = space;
    this.stateDir = stateDir;
    const train = tinyRows(ROWS, { seed: 1 });
    this.data = data ?? space.data('many', { train, test: tinyRows(8, { seed: 2 }) });
  }

  /** Starts the server; the reference backend, whose steps take long enough to be met in one. */
  async serve(): Promise<void> {
    this.server = await startServer(['--backend', 'cpu', '--state-dir', this.stateDir]);
  }

  args(name: string, ...flags: string[]): string[] {
    return [
      ...['train', '--server', this.server.url, '--model', this.space.model, '--data', this.data],
      ...['--adapter-path', this.space.path(name), '--save-every', '5', '--json', ...SMALL_JOB],
      ...['--epochs', '2', '--no-baselines', ...flags],
    ];
  }

  /** Starts a job, and resolves once the server has saved it at this step or a later one. */
  async untilStep(step: number, name: string, ...flags: string[]): Promise<CliProcess> {
    const { process } = this.server;
    this.begun = process.text('stderr').length;
    const device = startCli(this.args(name, ...flags));
    const saved = (text: string) => {
      // A session whose device was killed trains and saves until its end of the line breaks.
      const [, own = ''] = text.slice(this.begun).split(/"msg":"job (?:accepted|resumed)"(.*)/s);
      const steps = own.matchAll(/"step":(\d+),"msg":"job saved"/g);
      return [...steps].some(([, at]) => Number(at) >= step);
    };
    await process.until('stderr', { test: saved });
    return device;
  }

  /** Resolves once the server has said this since the last job was started. */
  async untilLogged(message: string): Promise<void> {
    const logged = (text: string) => text.slice(this.begun).includes(`"msg":"${message}"`);
    await this.server.process.until('stderr', { test: logged });
  }

  /** Runs a job to its end. */
  async run(name: string, ...flags: string[]): Promise<CliResult> {
    const result = await runCli(this.args(name, ...flags));
    assert.equal(result.code, 0, result.stderr);
    return result;
  }

  /** The step from which the last job on this server went on. */
  get resumedFrom(): number {
    const lines = this.server.process.text('stderr').matchAll(/"step":(\d+),"msg":"job resumed"/g);
    return Number([...lines].at(-1)?.[1]);
  }

  /** Fails unless a command ended with `code`, its job kept on both sides, and says how to go on. */
  assertKept(name: string, { code, stderr, stdout }: CliResult, expected: number | null): void {
    assert.equal(code, expected, stderr);
    assert.equal(stdout, '');
    if (expected !== null) assert.match(stderr, /[^\n]*--resume goes on[^\n]*\n$/);
    assert.ok(existsSync(this.partial(name)), 'what the device has to know is kept');
    assert.ok(!existsSync(this.space.path(name)), 'no adapter yet');
    assert.equal(this.states().length, 1);
  }

  /** Where the device keeps what it has to know. */
  partial(name: string): string {
    return this.space.path(`${name}.partial`, 'job.json');
  }

  /** Fails unless a job's adapter is `whole`'s, and nothing is kept of the job on either side. */
  async assertFinished(name: string, whole: ReadonlyMap<string, string>): Promise<void> {
    assert.deepEqual(this.files(name), whole);
    assert.ok(!existsSync(this.partial(name)), 'nothing is kept of a finished job');
    await this.untilForgotten();
  }

  /** Resolves once the server keeps no job any more; a device leaves without waiting for that. */
  async untilForgotten(): Promise<void> {
    const end = performance.now() + FORGET_MS;
    while (this.states().length > 0 && performance.now() < end) await sleep(10);
    assert.deepEqual(this.states(), []);
  }

  /** Folders of jobs that the server keeps. */
  states(): string[] {
    // Output heads of language models outlive their jobs.
    return readdirSync(this.stateDir).filter((name) => name !== 'heads');
  }

  /** Weights and configuration of an adapter folder, in hex. */
  files(name: string): Map<string, string> {
    const files = readdirSync(this.space.path(name)).filter((file) => /^adapter_/.test(file));
    return new Map(
      files.map((file) => [file, readFileSync(this.space.path(name, file)).toString('hex')]),
    );
  }
}
