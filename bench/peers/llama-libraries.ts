// llama.cpp's libraries for kinds of CPU. It loads the best that the machine can run; a folder that
// holds only one of them makes it take that one.
import { copyFileSync, linkSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One library that can be forced. */
export interface LlamaLibrary {
  readonly name: string;
  /** `libggml-cpu-<file>.so`. */
  readonly file: string;
  /** Flags of /proc/cpuinfo without which it does not run. */
  readonly needs: readonly string[];
}

const AVX2 = ['avx2', 'fma', 'f16c', 'bmi2'];
const AVX512 = [...AVX2, 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512cd'];

/** From the oldest instruction set to the newest. */
export const LLAMA_LIBRARIES: readonly LlamaLibrary[] = [
  { name: 'AVX2', file: 'haswell', needs: AVX2 },
  { name: 'AVX512-VNNI', file: 'cascadelake', needs: [...AVX512, 'avx512_vnni'] },
  {
    name: 'AMX',
    file: 'sapphirerapids',
    needs: [...AVX512, 'avx512_vnni', 'avx512_bf16', 'amx_tile', 'amx_int8'],
  },
];

/** Flags of the first processor. */
function cpuFlags(): ReadonlySet<string> {
  const flags = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  return new Set(flags.split(' '));
}

/** Libraries that this machine runs. */
export function libraryRuns({ needs }: LlamaLibrary): boolean {
  const flags = cpuFlags();
  return needs.every((flag) => flags.has(flag));
}

/** Binaries of the package that `bench/peers` installs, and the folder in them. */
const BINARIES = join(
  import.meta.dirname,
  'node_modules',
  '@node-llama-cpp',
  'linux-x64',
  'bins',
  'linux-x64',
);

/** Makes the folder with one library alone below `folder`; gives what node-llama-cpp is to be told. */
export function onlyLibrary({ file }: LlamaLibrary, folder: string): string {
  const target = join(folder, file, 'linux-x64');
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(BINARIES)) {
    if (/^libggml-cpu-/.test(name) && name !== `libggml-cpu-${file}.so`) continue;
    try {
      linkSync(join(BINARIES, name), join(target, name));
    } catch {
      // Another file system.
      copyFileSync(join(BINARIES, name), join(target, name));
    }
  }
  return join(folder, file);
}
