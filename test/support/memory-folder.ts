import type { FolderReader } from '../../src/model/index.ts';
import { memoryByteSource } from '../../src/platform/byte-source.ts';

/** A model folder in memory. */
export function memoryFolder(
  name: string,
  files: Readonly<Record<string, Uint8Array>>,
): FolderReader {
  return {
    name,
    async open(file) {
      return Object.hasOwn(files, file)
        ? memoryByteSource(files[file], `${name}/${file}`)
        : undefined;
    },
  };
}
