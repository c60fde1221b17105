// What building the Rust kernel takes, and what of it this machine lacks.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const FOLDER = import.meta.dirname;
const TARGET = 'wasm32-unknown-unknown';

/** First line of what a program says; undefined where there is none, or it fails. */
function said(command: string, ...args: string[]): string | undefined {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim().split('\n')[0] : undefined;
}

/** The version of wasm-bindgen that Cargo.toml asks for; its command has to be of the same. */
function bindgenVersion(): string {
  const manifest = readFileSync(join(FOLDER, 'Cargo.toml'), 'utf8');
  return /wasm-bindgen = "=([\d.]+)"/.exec(manifest)?.[1] ?? '';
}

/** What is missing, each with the command that gets it; empty where everything is there. */
export function missingTools(): string[] {
  const missing: string[] = [];
  if (!said('cargo', '--version')) missing.push('cargo and rustc (rustup, or your system)');
  const libraries = said('rustc', '--print', 'target-libdir', '--target', TARGET);
  if (libraries && !existsSync(libraries)) {
    missing.push(`Rust's libraries for ${TARGET} (rustup target add ${TARGET})`);
  }
  const wanted = bindgenVersion();
  if (!said('wasm-bindgen', '--version')?.endsWith(wanted)) {
    missing.push(
      `wasm-bindgen ${wanted} (cargo install --locked wasm-bindgen-cli --version ${wanted})`,
    );
  }
  if (!said('wasm-pack', '--version')) {
    missing.push('wasm-pack (cargo install --locked wasm-pack)');
  }
  return missing;
}

/** Which compilers built it. */
export function toolVersions(): string {
  return [said('rustc', '--version'), said('wasm-pack', '--version')].join(', ');
}

/** Instructions that a build may use. */
const FEATURES = { simd128: '+simd128', relaxed: '+simd128,+relaxed-simd' } as const;

/** A build of the kernel. */
export type RustVariant = keyof typeof FEATURES;

/** The module that wasm-pack makes; addresses are those of `allocate`. */
export interface RustKernels {
  readonly memory: WebAssembly.Memory;
  variant(): string;
  allocate(bytes: number): number;
  release(address: number, bytes: number): void;
  gemm(
    out: number,
    data: number,
    actScales: number,
    sums: number,
    packed: number,
    scales: number,
    m: number,
    n: number,
    kp: number,
    wide: boolean,
  ): void;
}

/**
 * Builds a variant, or finds it built, and loads it.
 * @throws Error with what wasm-pack said when it fails
 */
export async function buildRust(variant: RustVariant): Promise<RustKernels> {
  const folder = join(FOLDER, `pkg-${variant}`);
  const { status, stderr } = spawnSync(
    'wasm-pack',
    ['build', '--mode', 'no-install', '--no-opt', '--release', '--target', 'web']
      .concat(['--no-typescript', '--no-pack', '--out-dir', folder])
      .concat(['--out-name', 'kernel', FOLDER]),
    {
      encoding: 'utf8',
      env: {
        ...process.env,
        RUSTFLAGS: `-C target-feature=${FEATURES[variant]}`,
        // Flags change everything that was built, so each variant has a folder of its own.
        CARGO_TARGET_DIR: join(FOLDER, 'target', variant),
      },
    },
  );
  if (status !== 0) throw new Error(`wasm-pack failed:\n${stderr}`);
  const glue = (await import(pathToFileURL(join(folder, 'kernel.js')).href)) as RustKernels & {
    initSync(options: { module: Uint8Array }): { readonly memory: WebAssembly.Memory };
  };
  const { memory } = glue.initSync({ module: readFileSync(join(folder, 'kernel_bg.wasm')) });
  return { ...glue, memory };
}
