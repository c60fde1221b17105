import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

/** The packages that a module needs before it runs: its imports, and theirs, types aside. */
function packagesOf(entry: string): Set<string> {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const queue = [fileURLToPath(new URL(`../../../src/${entry}`, import.meta.url))];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    const source = readFileSync(file, 'utf8');
    for (const [, names = '', from] of source.matchAll(
      /^(?:import|export)\s+(?!type\b)(?:([^'";]*?)\s+from\s+)?'([^']+)';/gm,
    )) {
      const list = names.match(/^\{(.*)\}$/s)?.[1]?.split(',');
      if (list?.every((name) => /^\s*(type\s|$)/.test(name))) continue;
      if (from.startsWith('.')) queue.push(resolve(dirname(file), from));
      else if (!from.startsWith('node:')) packages.add(from);
    }
  }
  return packages;
}

// A package costs its size in memory several times over, in every thread: 19 MB of zod alone.
it('the thread that computes on the device loads what reads models, and nothing else', () => {
  assert.deepEqual(
    packagesOf('cli/device-worker.ts'),
    new Set(['@huggingface/jinja', '@huggingface/tokenizers']),
  );
});

it('a command loads its own packages', () => {
  assert.deepEqual(packagesOf('cli/main.ts'), new Set(['commander']));
  assert.deepEqual(packagesOf('cli/commands/bench.ts'), new Set(['commander']));
});
