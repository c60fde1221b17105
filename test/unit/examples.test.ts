import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { skipWithoutModel } from '../support/model.ts';
import { runScript } from '../support/run-script.ts';

/*
 * What people copy must run: every file of examples/, and the first block of code under "Library
 * quickstart" in the README. A first line `// needs: smollm2-135m` says that it wants the model.
 */

const ROOT = resolve(import.meta.dirname, '..', '..');
const NEEDS_MODEL = '// needs: smollm2-135m';

const skipReason = (source: string) => source.startsWith(NEEDS_MODEL) && skipWithoutModel();

async function assertRuns(path: string): Promise<void> {
  const { code, stdout, stderr } = await runScript(path);
  assert.equal(code, 0, `exit code ${code}\n${stdout}${stderr}`);
  assert.notEqual(stdout, '', 'prints nothing: a reader would not see what it did');
}

const folder = join(ROOT, 'examples');
const examples = existsSync(folder)
  ? readdirSync(folder).filter((name) => name.endsWith('.ts'))
  : [];
for (const name of examples) {
  const path = join(folder, name);
  test(`examples/${name} runs`, { skip: skipReason(readFileSync(path, 'utf8')) }, () =>
    assertRuns(path),
  );
}

/** The module behind `mobillm/...`: what package.json exports from dist, taken from the sources. */
function sourceOf(specifier: string): string {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const target: string | undefined = exports[specifier.replace('mobillm', '.')];
  assert.ok(target, `package.json does not export ${specifier}`);
  const path = target.replace('./dist/', './src/').replace(/\.js$/, '.ts');
  return pathToFileURL(join(ROOT, path)).href;
}

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const quickstart = /^## Library quickstart\n.*?^```ts\n(.*?)^```/ms.exec(readme)?.[1] ?? '';

test("the README's quickstart is there, and short", () => {
  const lines = quickstart.split('\n').filter((line) => line.trim() !== '').length;
  assert.ok(quickstart.length > 0, 'no ts block under "## Library quickstart"');
  assert.ok(lines <= 24, `${lines} lines: the README promises twenty or so`);
});

test("the README's quickstart runs", { skip: skipReason(quickstart) }, async () => {
  const temporary = mkdtempSync(join(tmpdir(), 'mobillm-quickstart-'));
  try {
    const path = join(temporary, 'quickstart.ts');
    writeFileSync(
      path,
      quickstart.replace(/'(mobillm(?:\/[\w/-]+)?)'/g, (_, name) => `'${sourceOf(name)}'`),
    );
    writeFileSync(join(temporary, 'package.json'), '{"type":"module"}');
    await assertRuns(path);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
});
