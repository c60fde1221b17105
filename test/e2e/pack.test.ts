import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { runCli } from '../support/cli.ts';
import { tinyFolder } from '../support/tiny-models.ts';

const home = mkdtempSync(join(tmpdir(), 'mobillm-pack-'));
after(() => rmSync(home, { recursive: true, force: true }));

const model = tinyFolder('llama').path;
const cli = (...args: string[]) =>
  runCli([...args, '--model', model], { env: { MOBILLM_HOME: home } });
const generate = (...args: string[]) => cli('generate', '-p', 'a', '-n', '4', ...args);

describe('mobillm pack', () => {
  it('packs once, also by two processes; generate reads it, says so and gives the same text', async () => {
    const plain = await generate('--no-pack');
    assert.doesNotMatch(plain.stderr, /packed/);
    const both = await Promise.all([cli('pack'), cli('pack')]);
    for (const { code, stderr } of both) assert.equal(code, 0, stderr);
    const path = both[0].stdout.trim();
    assert.equal(both[1].stdout.trim(), path);
    assert.deepEqual(
      readdirSync(join(home, 'packed')).map((name) => join(home, 'packed', name)),
      [path],
    );
    const packed = await generate();
    assert.equal(packed.stdout, plain.stdout);
    assert.ok(packed.stderr.includes(`out of ${path}`), packed.stderr);

    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(path, bytes);
    const damaged = await generate('--json');
    assert.equal(damaged.code, 0);
    assert.match(damaged.stderr, /^note: packed weights: .* damaged.*; not used$/m);
    assert.equal(JSON.parse(damaged.stdout).text, plain.stdout.trimEnd());
    const again = JSON.parse((await cli('pack', '--json')).stdout);
    assert.deepEqual([again.state, again.path], ['written', path]);
  });
});
