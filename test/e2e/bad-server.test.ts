import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { WebSocketServer } from 'ws';
import {
  assertFails,
  type CliServer,
  runCli,
  SMALL_JOB,
  startServer,
  workspace,
} from '../support/cli.ts';

/* Wrong servers and wrong commands: one line each, its exit code, and nothing half-written. */

const space = workspace();
let server: CliServer;
/** Servers of another kind: no mobillm at all, one of another version, one that takes no protocol. */
const web = createServer((_, response) => response.end('hello'));
const future = new WebSocketServer({
  port: 0,
  host: '127.0.0.1',
  handleProtocols: () => 'mobillm.v99',
});
const plain = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => false });

const portOf = (listening: { address(): unknown }) => (listening.address() as AddressInfo).port;

before(async () => {
  await new Promise<void>((listening) => web.listen(0, '127.0.0.1', listening));
  server = await startServer(['--token', 'right']);
});

after(async () => {
  web.close();
  future.close();
  plain.close();
  await server.stop();
  space.remove();
});

interface Case {
  readonly args: () => string[];
  readonly code: number;
  /** What the one line says. */
  readonly says: RegExp;
}

function trainArgs(...flags: string[]): string[] {
  return [
    ...['train', '--server', server.url, '--token', 'right', '--model', space.model],
    ...['--data', space.tiny, '--adapter-path', space.path('adapter'), ...SMALL_JOB, '--json'],
    ...flags,
  ];
}

const serverCases: Record<string, Case> = {
  'no server': {
    args: () => trainArgs('--server', 'ws://127.0.0.1:9'),
    code: 5,
    says: /E_SERVER_UNREACHABLE.*ws:\/\/127\.0\.0\.1:9.*mobillm serve/,
  },
  'an address that is none': {
    args: () => trainArgs('--server', 'localhost:8765'),
    code: 2,
    says: /E_USAGE.*--server: localhost:8765 is no address such as ws:/,
  },
  'some other web server': {
    args: () => trainArgs('--server', `ws://127.0.0.1:${portOf(web)}`),
    code: 5,
    says: /E_SERVER_UNREACHABLE.*HTTP 200, so it is no mobillm server/,
  },
  'a server of another version': {
    args: () => trainArgs('--server', `ws://127.0.0.1:${portOf(future)}`),
    code: 5,
    says: /E_PROTOCOL_VERSION.*use the same release/,
  },
  'a server of another protocol': {
    args: () => trainArgs('--server', `ws://127.0.0.1:${portOf(plain)}`),
    code: 5,
    says: /E_PROTOCOL_VERSION.*use the same release/,
  },
  'training that runs away': {
    args: () => trainArgs('--learning-rate', '10', '--weight-decay', '3', '--epochs', '40'),
    code: 5,
    says: /E_DIVERGED.*gave up: training diverged: step \d+.*use a lower --learning-rate/,
  },
  'a wrong token': {
    args: () => trainArgs('--token', 'wrong'),
    code: 5,
    says: /E_UNAUTHORIZED.*token is missing or wrong/,
  },
};

describe('train', { concurrency: 3 }, () => {
  for (const [what, { args, code, says }] of Object.entries(serverCases)) {
    test(what, async () => {
      assertFails(await runCli(args()), code, says);
      assert.ok(!existsSync(space.path('adapter')), 'nothing is left');
    });
  }
});

const otherCases: Record<string, Case> = {
  'a command that does not exist': {
    args: () => ['trian'],
    code: 2,
    says: /unknown command 'trian'.*train/,
  },
  'a model that cannot be pulled': {
    args: () => ['pull', 'gpt-9'],
    code: 2,
    says: /E_USAGE.*no model named gpt-9; known are smollm2-135m/,
  },
  'an adapter that is not there': {
    args: () => ['eval', '--data', space.tiny, '--adapter-path', space.path('nowhere')],
    code: 2,
    says: /E_NOT_FOUND.*nowhere\/adapter_config\.json/,
  },
  'an adapter that is none': {
    args: () => {
      writeFileSync(space.path('adapter_config.json'), '{"peft_type": "LORA"}');
      return ['predict', '--text', 'x', '--adapter-path', space.root];
    },
    code: 4,
    says: /E_ADAPTER.*adapter_config\.json/,
  },
  'an empty text to predict': {
    args: () => ['predict', '--text', '', '--adapter-path', space.root],
    code: 2,
    says: /E_USAGE.*--text is empty/,
  },
  'a port that is none': { args: () => ['serve', '--port', '99999'], code: 2, says: /--port/ },
  'a port that is taken': {
    args: () => ['serve', '--port', new URL(server.url).port],
    code: 5,
    says: /E_LISTEN.*the address is in use/,
  },
  'a folder to spill to that is a file': {
    args: () => ['serve', '--port', '0', '--spill-dir', space.model],
    code: 2,
    says: /--spill-dir/,
  },
};

describe('other commands', { concurrency: 3 }, () => {
  for (const [what, { args, code, says }] of Object.entries(otherCases)) {
    test(what, async () => {
      assertFails(await runCli(args()), code, says);
    });
  }
});

test('every exit code above stands in the help', async () => {
  const { stdout } = await runCli(['--help']);
  const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8');
  for (const [, code] of page.matchAll(/^\| `(\d+)` \|/gm)) {
    assert.match(stdout, new RegExp(`\\b${code} `), `exit code ${code}`);
  }
});
