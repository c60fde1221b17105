import { withSharedMemory } from './shared-import.ts';

/** Compiled once a thread, by their text; every backend is an instance of its own. */
const compiled = {
  own: new Map<string, WebAssembly.Module>(),
  shared: new Map<string, WebAssembly.Module>(),
};

/**
 * A module of kernels out of its base64 text, for a memory of its own or one that threads share.
 * @throws CompileError (the engine's) where the engine lacks the instructions
 */
export function moduleFrom(base64: string, memory: 'own' | 'shared'): WebAssembly.Module {
  let module = compiled[memory].get(base64);
  if (!module) {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    module = new WebAssembly.Module(memory === 'shared' ? withSharedMemory(bytes) : bytes);
    compiled[memory].set(base64, module);
  }
  return module;
}
