// Compiles the AssemblyScript kernels. Each `assembly/index.ts` becomes a `module.generated.ts`
// beside its folder: one base64 string a variant, so that Node, workers, browsers and bundlers all
// load kernels by a plain import.
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const force = process.argv.includes('--force');

const MODULES = ['src/tensor/backends/wasm', 'src/quant'];

/** `simd128` runs everywhere; `relaxed` compiles the branches behind ASC_FEATURE_RELAXED_SIMD. */
const VARIANTS = {
  simd128: ['--enable', 'simd'],
  relaxed: ['--enable', 'simd', '--enable', 'relaxed-simd'],
};

const newest = (folder) =>
  Math.max(...readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs));

for (const folder of MODULES) {
  const assembly = join(root, folder, 'assembly');
  const target = join(root, folder, 'module.generated.ts');
  const self = statSync(fileURLToPath(import.meta.url)).mtimeMs;
  let built = 0;
  try {
    built = statSync(target).mtimeMs;
  } catch {
    // not built yet
  }
  if (!force && built > Math.max(newest(assembly), self)) continue;

  const asc = await import('assemblyscript/asc');
  const lines = ['// Made by scripts/build-wasm.mjs from assembly/; not kept in git.'];
  for (const [variant, features] of Object.entries(VARIANTS)) {
    const out = join(root, 'build', `${folder.replaceAll('/', '-')}-${variant}.wasm`);
    mkdirSync(dirname(out), { recursive: true });
    rmSync(out, { force: true });
    const { error, stderr } = await asc.main([
      join(assembly, 'index.ts'),
      '--outFile', out,
      '--baseDir', root,
      '--runtime', 'stub',
      '--importMemory',
      '--initialMemory', '1',
      '--noAssert',
      '--optimizeLevel', '3',
      '--shrinkLevel', '0',
      '--converge',
      ...features,
    ]);
    if (error) {
      console.error(stderr.toString());
      console.error(`build-wasm: ${folder} (${variant}): ${error.message}`);
      process.exit(1);
    }
    const bytes = readFileSync(out);
    lines.push(`export const ${variant} =\n  '${bytes.toString('base64')}';`);
    console.log(`wasm ${folder} ${variant}: ${bytes.length} bytes`);
  }
  writeFileSync(target, `${lines.join('\n')}\n`);
}
