import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, test } from 'node:test';

/*
 * The rule "one direction" of ARCHITECTURE.md lives in biome.json as patterns over the text of
 * imports. A pattern that matches nothing fails silently, so every one is shown an offender here.
 */

const ROOT = resolve(import.meta.dirname, '..', '..');

interface Case {
  readonly refused: readonly string[];
  readonly allowed: readonly string[];
}

const CASES: Record<string, Case> = {
  'tensor/a.ts': {
    refused: [
      '../quant/a.ts',
      '../model/a.ts',
      '../trace/a.ts',
      '../threads/a.ts',
      'node:fs',
      'ws',
    ],
    allowed: ['./errors.ts'],
  },
  'tensor/backends/cpu/a.ts': {
    refused: ['../../../model/a.ts', 'node:fs/promises'],
    allowed: ['../../backend.ts'],
  },
  'tensor/backends/gpu/gpu-js.ts': {
    refused: ['ws', 'node:fs', '../../../model/a.ts'],
    allowed: ['gpu.js', '../../errors.ts'],
  },
  'tensor/backends/gpu/a.ts': { refused: ['gpu.js'], allowed: ['../../backend.ts'] },
  'trace/a.ts': {
    refused: ['../tensor/tensor.ts', '../platform/node.ts', 'node:fs'],
    allowed: ['../tensor/errors.ts', '../platform/clock.ts'],
  },
  'quant/a.ts': {
    refused: ['../model/a.ts', '../transport/a.ts', 'node:fs', 'ws'],
    allowed: ['../tensor/index.ts'],
  },
  'data/a.ts': {
    refused: ['../tensor/tensor.ts', '../model/a.ts', 'node:fs'],
    allowed: ['../tensor/errors.ts', '../tensor/random.ts'],
  },
  'platform/a.ts': { refused: ['node:fs', '../model/a.ts'], allowed: ['../tensor/errors.ts'] },
  'platform/node-read.ts': { refused: ['../model/a.ts', '../threads/a.ts'], allowed: ['node:fs'] },
  'threads/a.ts': {
    refused: ['../tensor/index.ts', '../quant/a.ts', '../model/a.ts', 'node:fs', 'ws'],
    allowed: ['../platform/node.ts', '../tensor/backends/wasm/kernel-thread.ts'],
  },
  'model/a.ts': {
    refused: ['../transport/a.ts', '../data/a.ts', '../device/a.ts', '../server/a.ts', 'node:fs'],
    allowed: ['../quant/a.ts', '../platform/byte-source.ts', '@huggingface/tokenizers'],
  },
  'model/weights/a.ts': {
    refused: ['../../cli/a.ts', '../../platform/node.ts'],
    allowed: ['../../platform/byte-source.ts'],
  },
  'transport/a.ts': {
    refused: ['../model/a.ts', '../tensor/tensor.ts', '../quant/index.ts', 'node:http'],
    allowed: ['ws', '../tensor/dtype.ts', '../tensor/errors.ts', '../quant/codec.ts'],
  },
  'device/a.ts': {
    refused: ['../server/a.ts', '../cli/a.ts', 'node:fs'],
    allowed: ['../model/a.ts', '../transport/a.ts', '../data/a.ts'],
  },
  'server/a.ts': {
    refused: ['../device/a.ts', '../cli/a.ts'],
    allowed: ['../model/a.ts', 'node:fs'],
  },
  'cli/a.ts': { refused: [], allowed: ['../device/a.ts', '../server/a.ts', 'node:fs'] },
};

const folder = mkdtempSync(join(tmpdir(), 'mobillm-lint-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Lints files in an empty project with our configuration; gives `file:line rule` a finding. */
function lint(files: Record<string, string>): string[] {
  const {
    vcs: _,
    $schema: __,
    ...config
  } = JSON.parse(readFileSync(join(ROOT, 'biome.json'), 'utf8'));
  writeFileSync(join(folder, 'biome.json'), JSON.stringify(config));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, 'src', path)), { recursive: true });
    writeFileSync(join(folder, 'src', path), text);
  }
  const biome = join(ROOT, 'node_modules', '@biomejs', 'biome', 'bin', 'biome');
  const { stdout } = spawnSync(
    process.execPath,
    [biome, 'ci', '--colors=off', '--reporter=github', '--max-diagnostics=none', folder],
    { cwd: folder, encoding: 'utf8' },
  );
  return [...stdout.matchAll(/title=([\w/]+),file=([^,]+),line=(\d+)/g)]
    .map(([, rule, file, line]) => `${file.replace(/^.*?\/?src\//, '')}:${line} ${rule}`)
    .sort();
}

const statements = (imports: readonly string[]) =>
  imports.map((path) => `import '${path}';\n`).join('');

test('each folder may import what the rule of one direction says, and no more', () => {
  const refusedFirst = Object.fromEntries(
    Object.entries(CASES).map(([path, { refused, allowed }]) => [
      path,
      statements([...refused, ...allowed]),
    ]),
  );
  const expected = Object.entries(CASES)
    .flatMap(([path, { refused }]) =>
      refused.map((_, line) => `${path}:${line + 1} lint/style/noRestrictedImports`),
    )
    .sort();
  const found = lint(refusedFirst).filter((finding) => finding.includes('noRestrictedImports'));
  assert.deepEqual(found, expected);
});

test('cycles, unsorted imports, file names and stray console calls are errors', () => {
  const found = lint({
    'cli/y.ts': "import { b } from './z.ts';\n\nexport const a = b;\n",
    'cli/z.ts': "import { a } from './y.ts';\n\nexport const b = a;\n",
    'device/unsorted.ts': "import { z } from './z.ts';\nimport { a } from './a.ts';\n\nz(a);\n",
    'device/BadName.ts': "console.log('x');\n",
  });
  for (const finding of [
    'cli/y.ts:1 lint/suspicious/noImportCycles',
    'device/unsorted.ts:1 assist/source/organizeImports',
    'device/BadName.ts:1 lint/suspicious/noConsole',
  ]) {
    assert.ok(found.includes(finding), `${finding} in\n${found.join('\n')}`);
  }
});
