// Compiles the AssemblyScript kernels. Each `assembly/index.ts` becomes a `module.generated.ts`
// beside its folder: one base64 string a variant, so that Node, workers, browsers and bundlers all
// load kernels by a plain import.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const force = process.argv.includes('--force');

/**
 * Both modules live in one memory, so what each puts there by itself (tables, constants) must not
 * overlap: the ranges below are 31 KiB and 32 KiB, and the build fails when a module outgrows its
 * own. From 64 KiB to the allocator's heap base (HEAP_BASE, src/tensor/backends/wasm/memory.ts)
 * lies the scratch of the f32 kernels (assembly/layout.ts there).
 */
const MODULES = [
  { folder: 'src/tensor/backends/wasm', memoryBase: 1024, memoryEnd: 32768 },
  { folder: 'src/quant', memoryBase: 32768, memoryEnd: 65536 },
];

/** `simd128` runs everywhere; `relaxed` compiles the branches behind ASC_FEATURE_RELAXED_SIMD. */
const VARIANTS = {
  simd128: ['--enable', 'simd'],
  relaxed: ['--enable', 'simd', '--enable', 'relaxed-simd'],
};

const newest = (folder) =>
  Math.max(...readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs));

/** First address behind the data segments of a module, read from its section 11. */
function dataEnd(bytes) {
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  let end = 0;
  while (at < bytes.length) {
    const id = bytes[at++];
    const next = number() + at;
    if (id === 11) {
      for (let segments = number(); segments > 0; segments--) {
        // Flags 0, `i32.const offset`, `end`, length, bytes: what the compiler writes.
        if (number() !== 0 || bytes[at++] !== 0x41) throw new Error('build-wasm: odd data segment');
        const offset = number();
        at++;
        const length = number();
        at += length;
        end = Math.max(end, offset + length);
      }
    }
    at = next;
  }
  return end;
}

for (const { folder, memoryBase, memoryEnd } of MODULES) {
  const assembly = join(root, folder, 'assembly');
  const target = join(root, folder, 'module.generated.ts');
  if (!existsSync(join(assembly, 'index.ts'))) continue;
  const self = statSync(fileURLToPath(import.meta.url)).mtimeMs;
  const built = existsSync(target) ? statSync(target).mtimeMs : 0;
  if (!force && built > Math.max(newest(assembly), self)) continue;

  const asc = await import('assemblyscript/asc');
  const lines = ['// Made by scripts/build-wasm.mjs from assembly/; not kept in git.'];
  for (const [variant, features] of Object.entries(VARIANTS)) {
    const out = join(
      root,
      'build',
      `${folder.replaceAll('/', '-')}-${variant}-${process.pid}.wasm`,
    );
    mkdirSync(dirname(out), { recursive: true });
    const { error, stderr } = await asc.main([
      join(assembly, 'index.ts'),
      '--outFile',
      out,
      '--baseDir',
      root,
      '--runtime',
      'stub',
      '--importMemory',
      '--initialMemory',
      '1',
      // Threads share a memory only where its maximum is stated (shared-import.ts): all there is.
      '--maximumMemory',
      '65536',
      '--memoryBase',
      String(memoryBase),
      '--noAssert',
      '--optimizeLevel',
      '3',
      '--shrinkLevel',
      '0',
      '--converge',
      // v128 in signatures: these functions call each other, JavaScript never calls them.
      '--disableWarning',
      '112',
      ...features,
    ]);
    if (error) {
      console.error(stderr.toString());
      console.error(`build-wasm: ${folder} (${variant}): ${error.message}`);
      process.exit(1);
    }
    const bytes = readFileSync(out);
    rmSync(out);
    if (dataEnd(bytes) > memoryEnd) {
      console.error(`build-wasm: ${folder} (${variant}): static data ends past ${memoryEnd}`);
      process.exit(1);
    }
    lines.push(`export const ${variant} =\n  '${bytes.toString('base64')}';`);
    console.log(`wasm ${folder} ${variant}: ${bytes.length} bytes`);
  }
  // Renamed into place: whoever imports the file meanwhile finds the old one or the new one whole.
  const fresh = `${target}.${process.pid}`;
  writeFileSync(fresh, `${lines.join('\n')}\n`);
  renameSync(fresh, target);
}
