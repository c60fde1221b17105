import { BackendError } from '../../errors.ts';

/** Section of a module that lists its imports; kinds of imports in it. */
const IMPORT_SECTION = 2;
const KIND = { function: 0, table: 1, memory: 2, global: 3 } as const;

/** Bits of a memory's limits: a maximum is stated; threads share it. */
const HAS_MAXIMUM = 1;
const SHARED = 2;

/**
 * A copy of a module whose imported memory is shared between threads: one bit of its limits. Our
 * kernels use no atomic instruction, so that nothing else in them differs and one binary is enough.
 * @throws BackendError for bytes that are no module, or whose memory is not imported with a maximum
 *   (threads need one stated)
 */
export function withSharedMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes);
  copy[limitsOfMemory(copy)] |= SHARED;
  return copy;
}

/** Where the flags of the imported memory stand. */
function limitsOfMemory(bytes: Uint8Array): number {
  let at = 8;
  // LEB128; all that is read here fits into 32 bits.
  const number = (): number => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw new BackendError('shared memory: the module is cut short');
  };
  const limits = () => {
    const flags = number();
    number();
    if (flags & HAS_MAXIMUM) number();
  };
  while (at < bytes.length) {
    const section = bytes[at++];
    const end = number() + at;
    if (section !== IMPORT_SECTION) {
      at = end;
      continue;
    }
    for (let imports = number(); imports > 0; imports--) {
      for (let names = 2; names > 0; names--) {
        const length = number();
        at += length;
      }
      const kind = bytes[at++];
      if (kind === KIND.memory) {
        if (bytes[at] & HAS_MAXIMUM) return at;
        throw new BackendError('shared memory: the module states no maximum for its memory');
      }
      if (kind === KIND.function) number();
      else if (kind === KIND.global) at += 2;
      else if (kind === KIND.table) {
        at++;
        limits();
      } else throw new BackendError(`shared memory: import of unknown kind ${kind}`);
    }
    break;
  }
  throw new BackendError('shared memory: the module imports no memory');
}
