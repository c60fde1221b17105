// What an engine that runs a whole model answers, in a process of its own: so that each can be given
// its libraries, measured alone, and taken in turns with the others.
import { fork } from 'node:child_process';
import { join } from 'node:path';

/** What is timed: a prompt at once up to its next token, or tokens made one by one from one token. */
export interface ModelTest {
  readonly kind: 'pp' | 'tg';
  readonly tokens: number;
}

/** What one run took. */
export interface ModelRun {
  /** On the clock. */
  readonly seconds: number;
  /** Of all threads of the engine together. */
  readonly cpuSeconds: number;
}

/** Arguments of an engine's process. */
export interface EngineOptions {
  readonly model: string;
  readonly threads: number;
  /** Of our weights. */
  readonly precision?: 'int8' | 'int4';
  /** Folder of llama.cpp's libraries. */
  readonly libraries?: string;
}

/** Sent to the process. */
export type ModelRequest =
  | { readonly kind: 'next'; readonly ids: readonly number[] }
  | { readonly kind: 'run'; readonly test: ModelTest; readonly ids: readonly number[] };

/** Sent back: at the start what runs, then an answer a request. */
export type ModelReply =
  | { readonly kind: 'ready'; readonly variant: string }
  | { readonly kind: 'next'; readonly token: number }
  | ({ readonly kind: 'run'; readonly peakRss: number } & ModelRun)
  | { readonly kind: 'failed'; readonly message: string };

/** An engine with its model loaded. */
export interface ModelRunner {
  readonly engine: string;
  /** Said by the engine itself: kernels, instruction sets. */
  readonly variant: string;
  /** The most likely token behind a prompt. */
  next(ids: readonly number[]): Promise<number>;
  run(test: ModelTest, ids: readonly number[]): Promise<ModelRun>;
  /** Bytes, at most so far; null where it cannot be told. */
  peakRss(): number | null;
  close(): Promise<void>;
}

type Wanted<K extends ModelReply['kind']> = Extract<ModelReply, { kind: K }>;

/** Starts `script` of this folder and loads the model in it. */
export async function startRunner(
  engine: string,
  script: string,
  options: EngineOptions,
): Promise<ModelRunner> {
  const child = fork(join(import.meta.dirname, script), [JSON.stringify(options)], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-1000);
  });
  const reply = <K extends ModelReply['kind']>(kind: K) =>
    new Promise<Wanted<K>>((resolve, reject) => {
      const settle = (then: () => void) => {
        child.off('message', onMessage);
        child.off('exit', onExit);
        then();
      };
      const onMessage = (message: ModelReply) =>
        settle(() =>
          message.kind === kind
            ? resolve(message as Wanted<K>)
            : reject(new Error(`${engine}: ${(message as Wanted<'failed'>).message}`)),
        );
      const onExit = (code: number | null, signal: string | null) =>
        settle(() => reject(new Error(`${engine} ended (${code ?? signal}): ${said}`)));
      child.on('message', onMessage);
      child.on('exit', onExit);
    });
  const ask = <K extends 'next' | 'run'>(request: Extract<ModelRequest, { kind: K }>) => {
    const answer = reply(request.kind);
    child.send(request);
    return answer as Promise<Wanted<K>>;
  };
  const { variant } = await reply('ready');
  let peak: number | null = null;
  return {
    engine,
    variant,
    next: async (ids) => (await ask<'next'>({ kind: 'next', ids })).token,
    async run(test, ids) {
      const { seconds, cpuSeconds, peakRss } = await ask<'run'>({ kind: 'run', test, ids });
      peak = peakRss;
      return { seconds, cpuSeconds };
    },
    peakRss: () => peak,
    async close() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** What a process does with its model. */
export interface ModelEngine {
  readonly variant: string;
  /** Makes `count` tokens behind a prompt, the most likely each, in an empty context. */
  generate(ids: readonly number[], count: number): Promise<number[]>;
}

/** The other end: answers requests until the parent goes. */
export async function serveEngine(
  load: (options: EngineOptions) => Promise<ModelEngine>,
): Promise<void> {
  const send = (reply: ModelReply) => process.send?.(reply);
  process.on('disconnect', () => process.exit(0));
  try {
    const engine = await load(JSON.parse(process.argv[2]) as EngineOptions);
    process.on('message', async (request: ModelRequest) => {
      try {
        if (request.kind === 'next') {
          const [token] = await engine.generate(request.ids, 1);
          send({ kind: 'next', token });
          return;
        }
        const count = request.test.kind === 'pp' ? 1 : request.test.tokens;
        const [start, cpu] = [performance.now(), process.cpuUsage()];
        const made = await engine.generate(request.ids, count);
        const seconds = (performance.now() - start) / 1e3;
        const { user, system } = process.cpuUsage(cpu);
        if (made.length !== count) throw new Error(`${made.length} tokens made of ${count}`);
        const peakRss = process.resourceUsage().maxRSS * 1024;
        send({ kind: 'run', seconds, cpuSeconds: (user + system) / 1e6, peakRss });
      } catch (error) {
        send({ kind: 'failed', message: (error as Error).message });
      }
    });
    send({ kind: 'ready', variant: engine.variant });
  } catch (error) {
    send({ kind: 'failed', message: (error as Error).message });
  }
}
