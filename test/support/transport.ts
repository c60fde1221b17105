import {
  type BatchMessage,
  type Channel,
  Connection,
  type ConnectionOptions,
  type HelloMessage,
  type JobMessage,
  memoryChannelPair,
  PROTOCOL_VERSION,
  type TapsMessage,
  type WelcomeMessage,
} from '../../src/transport/index.ts';

export const HELLO: HelloMessage = {
  type: 'hello',
  software: 'mobillm 0.1.0',
  protocol: PROTOCOL_VERSION,
  model: { fingerprint: 'ab'.repeat(32), architecture: 'llama', hiddenSize: 64, layers: 4 },
  capabilities: ['bits:4'],
  creditWindow: 4096,
};

export const WELCOME: WelcomeMessage = {
  type: 'welcome',
  software: 'mobillm 0.1.0',
  protocol: PROTOCOL_VERSION,
  backend: 'cpu',
  sessionId: 's-1',
  creditWindow: 4096,
};

export const JOB: JobMessage = {
  type: 'job',
  id: 'a0'.repeat(16),
  resume: false,
  saveEvery: 100,
  task: { kind: 'classification', classes: 2, labels: ['good', 'bad'] },
  taps: { layers: [2, 4], kinds: ['last', 'mean'], width: 64 },
  codec: { bits: 4, groupSize: 64, mean: btoa('\0'.repeat(512)), scale: btoa('\0'.repeat(512)) },
  training: { epochs: 2, batchSize: 8, learningRate: 1e-3, seed: 1, side: 'parallel', extra: [1] },
  rows: { train: 8, valid: 0 },
};

/** One row of one kind at 4 bits: 34 bytes of codec, 78 of frame. */
export const TAPS: TapsMessage = {
  type: 'taps',
  batch: 0,
  split: 'train',
  layer: 2,
  kindStart: 0,
  kindCount: 1,
  rowStart: 0,
  rowCount: 1,
  width: 64,
  bits: 4,
  data: new Uint8Array(34).fill(0x88),
};

/** TAPS with so many rows; 34 bytes each. */
export function tapsOf(rowCount: number): TapsMessage {
  return { ...TAPS, rowCount, data: new Uint8Array(34 * rowCount).fill(0x88) };
}

export const BATCH: BatchMessage = {
  type: 'batch',
  batch: 0,
  split: 'train',
  rows: [3],
  labels: [1],
};

/** Two ends in memory, before any message. */
export function connectionPair(options: Partial<ConnectionOptions> = {}): {
  device: Connection;
  server: Connection;
} {
  const [a, b] = memoryChannelPair();
  return {
    device: new Connection(a, { ...options, role: 'device' }),
    server: new Connection(b, { ...options, role: 'server' }),
  };
}

/** Takes a pair of ends to the state in which the device sends. */
export async function toRunning(
  device: Connection,
  server: Connection,
  window = WELCOME.creditWindow,
): Promise<void> {
  await device.send(HELLO);
  await server.receive();
  await server.send({ ...WELCOME, creditWindow: window });
  await device.receive();
  await device.send(JOB);
  await server.receive();
  await server.send({ type: 'accept', jobId: 9, resumable: false, batches: 0, step: 0 });
  await device.receive();
}

/** One end of a channel in a test's hands: what was sent to it, and bytes put in. */
export class FakeChannel implements Channel {
  readonly sent: Uint8Array[] = [];
  bufferedAmount = 0;
  closedWith: [number, string] | undefined;
  deliver: (bytes: Uint8Array) => void = () => {};
  end: (code: number, reason: string) => void = () => {};

  send(bytes: Uint8Array): void {
    this.sent.push(bytes);
  }

  onMessage(handler: (bytes: Uint8Array) => void): void {
    this.deliver = handler;
  }

  onClose(handler: (code: number, reason: string) => void): void {
    this.end = handler;
  }

  close(code: number, reason: string): void {
    this.closedWith ??= [code, reason];
  }
}

/** A predicate for assert.rejects and assert.throws: a typed error with this code. */
export function hasCode(code: string, text?: RegExp) {
  return (error: unknown): boolean => {
    const { code: actual, message } = error as { code?: string; message: string };
    if (actual !== code) throw new Error(`expected ${code}, got ${actual}: ${message}`);
    return text === undefined || text.test(message);
  };
}
