import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { startCli } from '../../support/cli.ts';

test('output that nobody reads any more ends a command without a word', async () => {
  const { child, done } = startCli(['--help']);
  // Closed before the command has begun to write.
  child.stdout.destroy();
  const [code] = (await once(child, 'exit')) as [number | null];
  const { stderr } = await done;
  assert.deepEqual([code, stderr], [0, '']);
});
