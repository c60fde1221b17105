import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
const FROM_SOURCE = pathToFileURL(join(ROOT, 'scripts', 'package-from-source.mjs')).href;
const NEEDS_MODEL = '// needs: smollm2-135m';

const skipReason = (source: string) => source.startsWith(NEEDS_MODEL) && skipWithoutModel();

/** Runs a program in which `mobillm/...` is what package.json exports, from the sources. */
async function assertRuns(path: string): Promise<void> {
  const { code, stdout, stderr } = await runScript(path, [], ['--import', FROM_SOURCE]);
  assert.equal(code, 0, `exit code ${code}\n${stdout}${stderr}`);
  assert.notEqual(stdout, '', 'prints nothing: a reader would not see what it did');
}

/** Lines of an example, so that it is read in one go. */
const MOST_LINES = 80;

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const folder = join(ROOT, 'examples');
const examples = readdirSync(folder).filter((name) => name.endsWith('.ts'));
for (const name of examples) {
  const path = join(folder, name);
  const source = readFileSync(path, 'utf8');
  test(`examples/${name} is short, named in the README, and imports what others can`, () => {
    assert.ok(source.split('\n').length <= MOST_LINES, `more than ${MOST_LINES} lines`);
    assert.ok(readme.includes(`examples/${name}`), 'the README does not link it');
    assert.doesNotMatch(source, /from '\.|import\('\./, 'a relative import cannot be copied');
  });
  test(`examples/${name} runs`, { skip: skipReason(source) }, () => assertRuns(path));
}

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
    writeFileSync(path, quickstart);
    writeFileSync(join(temporary, 'package.json'), '{"type":"module"}');
    await assertRuns(path);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
});
